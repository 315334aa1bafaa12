/** Rows that are nearly a page: what of them can be moved out, and what stays beside the vector. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openStorage, type StorageManager } from '../src/index.js';
import { PGLITE_IN_MEMORY } from './support/pglite-memory.js';

let storage: StorageManager;
beforeAll(async () => {
  storage = await openStorage({ databases: { main: PGLITE_IN_MEMORY } }, { environment: {} });
});
afterAll(() => storage.close());

test.each([1_980, 1_981, 1_997, 2_000, 2_001])(
  'a record of %d dimensions may have anything beside them',
  async (dimension) => {
    const name = `d${dimension}`;
    const vectors = storage.tenant('t'.repeat(20)).vectors();
    await storage.vectors().createCollection({ name, dimension, text: {} });
    const vector = Float32Array.from({ length: dimension }, (_, i) => Math.sin(i + 1));
    // Up to about 24 bytes a column stays in the row.
    const lengths = Array.from({ length: 28 }, (_, i) => i + 4);
    const report = await vectors.upsert(
      name,
      lengths.map((length) => ({
        id: `${'i'.repeat(length - 2)}${length}`,
        vector,
        metadata: { ab: 'c'.repeat(length) },
        text: 'x'.repeat(length),
      })),
      { namespace: 'n'.repeat(20) },
    );
    expect(report).toMatchObject({ written: 28, failed: 0 });
  },
);
