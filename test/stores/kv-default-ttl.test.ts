/** The time to live of entries that are set without one. */
import { expect, test } from '@jest/globals';
import { openStorage, type StorageManager } from '../../src/index.js';

const open = (defaultTtlSeconds: number): Promise<StorageManager> =>
  openStorage({ databases: { main: 'memory:' }, kv: { defaultTtlSeconds } }, { environment: {} });
const lifetime = ({ updatedAt, expiresAt }: { updatedAt: Date; expiresAt?: Date | undefined }): number | undefined =>
  expiresAt && expiresAt.getTime() - updatedAt.getTime();

test('is the setting; a time of its own, or none, counts more', async () => {
  await using storage = await open(90.5);
  const { kv } = storage;
  expect(lifetime(await kv.set('n', 'a', 1))).toBe(90_500);
  expect(lifetime(await kv.increment('n', 'b'))).toBe(90_500);
  expect(lifetime(await kv.set('n', 'c', 1, { ttlSeconds: 2 }))).toBe(2_000);
  expect(lifetime(await kv.set('n', 'd', 1, { ttlSeconds: null }))).toBeUndefined();
});

test('is no number below 0', async () => {
  for (const wrong of [-5, Number.NaN, Infinity])
    await expect(open(wrong)).rejects.toMatchObject({ code: 'CONFIGURATION', message: /kv\.defaultTtlSeconds/ });
});

test('is none by default, and a thousand years at most', async () => {
  await using none = await open(0);
  expect(lifetime(await none.kv.set('n', 'a', 1))).toBeUndefined();
  await using long = await open(1e12);
  expect(lifetime(await long.kv.set('n', 'a', 1))).toBe(1_000 * 365.25 * 86_400_000);
});
