/** Every operation on every database of the registry: it works, or it is refused before any I/O. */
import { afterAll, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OPERATION_NAMES, type OperationName, type Operations } from '../src/backends/operations.js';
import { isStorageError } from '../src/errors.js';
import { defineCollection, openStorage } from '../src/index.js';
import { storageTargets } from './support/storage-targets.js';

const Notes = defineCollection<{ text: string; size: number }>({
  name: 'notes',
  fields: { size: 'number' },
  indexes: [{ keys: ['size'] }],
  id: 'given',
});

const folder = mkdtempSync(join(tmpdir(), 'operations-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('a call is checked before anything else', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  const operations = storage.operations();
  const wrong = (work: Promise<unknown>) => expect(work).rejects.toMatchObject({ code: 'VALIDATION' });
  await wrong(operations.stats({ excat: true } as never));
  await wrong(operations.stats({ exact: 1 } as never));
  await wrong(operations.stats('exact' as never));
  await wrong(operations.stats({ timeout: 0 }));
  // Refused for what it lacks before it is refused for what it says.
  await expect(operations.backup({} as never)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  await expect(operations.stats({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' });
  expect(() => storage.operations('other')).toThrow(/No database "other"/);
  await expect(operations.vacuum({ collection: Notes })).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: 'The database main has no operation vacuum',
    operation: 'vacuum',
  });
  await storage.close();
  await expect(operations.stats()).rejects.toMatchObject({ code: 'CLOSED' });
});

test('what has vectors beside it tells of its collections', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  await storage.collection(Notes).insert({ text: 'a', size: 1 }, { id: 'a' });
  await storage.vectors().createCollection({ name: 'docs', dimension: 2 });
  await storage.vectors().upsert('docs', [{ id: 'a', vector: [1, 2] }]);
  const { collections } = await storage.operations().stats();
  const names = collections.map(({ collection }) => collection);
  expect(names.filter((name) => !name.startsWith('qm_'))).toEqual(['notes']);
});

for (const target of storageTargets('operations'))
  describe(`operations on ${target.name}`, () => {
    test('are there as the capabilities say, and stats tells what a collection takes', async () => {
      const { url, drop } = await target.prepare();
      const storage = await openStorage({ databases: { main: url } }, { environment: {} });
      try {
        const notes = storage.collection(Notes);
        const texts = Array.from({ length: 300 }, (_, i) => ({
          id: `n${i}`,
          value: { text: 'x'.repeat(500), size: i },
        }));
        await notes.load(texts);
        const operations = storage.operations('main');
        expect(Object.keys(operations.capabilities)).toEqual(OPERATION_NAMES);
        expect(operations.capabilities.stats).toBe(true);
        const { collections } = await operations.stats({ exact: true });
        const own = collections.find(({ collection }) => collection === 'notes');
        expect(own).toMatchObject({ records: 300, exact: true });
        expect(own!.bytes).toBeGreaterThan(target.name === 'mongo' || target.name === 'ferretdb' ? 1_000 : 300 * 500);
        expect(own!.indexBytes).toBeGreaterThanOrEqual(target.name === 'memory' ? 0 : 300);
        expect(collections.map(({ collection }) => collection)).not.toContain('quartermaster_schema');
        for (const name of OPERATION_NAMES) await tryOperation(operations, name, join(folder, target.name));
      } finally {
        await storage.close();
        await drop();
      }
    });
  });

/** What an operation that needs options is tried with. */
const TRIED: Partial<Record<OperationName, object>> = {
  ensureExtensions: { names: ['plpgsql'] },
  reindex: { collection: Notes },
};

async function tryOperation(operations: Operations, name: OperationName, file: string): Promise<void> {
  const all = operations as unknown as Record<OperationName, (options?: object) => Promise<unknown>>;
  const error: unknown = await all[name](name === 'backup' ? { file } : TRIED[name]).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (operations.capabilities[name]) expect({ name, error }).toEqual({ name, error: undefined });
  else expect({ name, unsupported: isStorageError(error, 'UNSUPPORTED') }).toEqual({ name, unsupported: true });
}
