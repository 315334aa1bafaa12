/** What a restart of the service finds: everything, and numbers that go on where they were. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineCollection, openStorage } from '../src/index.js';

const Invoices = defineCollection<{ total: number; at: Date }>({
  name: 'invoices',
  fields: { total: 'number', at: 'date' },
  id: 'sequence',
});
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'restart-'));
});
afterAll(() => rm(directory, { recursive: true }));

const open = () => openStorage({ databases: { main: `pglite:${directory}/data` } }, { environment: {} });

test('records, vectors and sequences are as they were', async () => {
  const at = new Date('2026-01-02T03:04:05.006Z');
  {
    await using storage = await open();
    const invoices = storage.collection(Invoices);
    for (let total = 1; total <= 3; total++) await invoices.save({ total, at });
    await invoices.delete('3');
    await storage.vectors().createCollection({ name: 'docs', dimension: 2, fields: { at: 'date' } });
    await storage.vectors().upsert('docs', [{ id: 'a', vector: [0.1, 0.2], metadata: { at } }]);
  }
  await using storage = await open();
  const invoices = storage.collection(Invoices);
  expect((await invoices.save({ total: 4, at })).id).toBe('4');
  expect((await invoices.list()).items.map(({ id, value }) => [id, value.total, value.at])).toEqual([
    ['1', 1, at],
    ['2', 2, at],
    ['4', 4, at],
  ]);
  expect(await storage.vectors().fetch('docs', ['a'], { include: { vector: true } })).toEqual([
    { id: 'a', vector: Float32Array.of(0.1, 0.2), metadata: { at } },
  ]);
});
