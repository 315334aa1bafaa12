/** How much `setMany` takes at once: the same whatever is there, and refused by the name of what was given. */
import { describe, expect, test } from '@jest/globals';
import { openStorage, type StorageManager } from '../../src/index.js';

const LIMIT = 8 * 1_048_576;
const KEYS = 998;

describe.each([
  ['with quotas', 100_000_000],
  ['without quotas', 0],
])('many entries %s', (_mode, namespaceQuotaBytes) => {
  const open = (): Promise<StorageManager> =>
    openStorage({ databases: { main: 'memory:' }, kv: { namespaceQuotaBytes } }, { environment: {} });
  /** Of so many bytes each, with the two quotes. */
  const items = (bytes: number): { key: string; value: string }[] =>
    Array.from({ length: KEYS }, (_, i) => ({ key: `k${i}`, value: 'x'.repeat(bytes - 2) }));

  test('are written up to the limit, and beyond it refused, also over others', async () => {
    await using storage = await open();
    const { kv } = storage;
    const most = Math.floor(LIMIT / KEYS) - 300;
    const refused = { code: 'VALIDATION', details: { key: 'items' } };
    for (let round = 0; round < 2; round++) {
      await expect(kv.setMany('n', items(most + 300))).rejects.toMatchObject(refused);
      expect(await kv.setMany('n', items(most), { ttlSeconds: 600 })).toHaveLength(KEYS);
    }
    await expect(kv.setMany('n', items(most + 100))).rejects.toMatchObject(refused);
  });
});
