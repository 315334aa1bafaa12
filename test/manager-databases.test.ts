/** What a manager makes of several databases, of files named later, and of parts that must not be shown. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import {
  defineCollection,
  getStorageManager,
  openStorage,
  registerVectorProvider,
  resetStorageManager,
  StorageError,
} from '../src/index.js';
import { pgliteIn } from './support/pglite-memory.js';
import { withOperations } from './support/provider-class.js';

const SECRET = 'hunter2-the-secret';
const Notes = defineCollection<{ text: string }>({ name: 'notes', fields: { text: 'string' } });
const Others = defineCollection<{ text: number }>({ name: 'notes', fields: { text: 'number' } });

describe('two databases of one URL', () => {
  let directory: string;
  afterEach(() => rm(directory, { recursive: true }));

  test('share what their tables are declared as; their options must be equal', async () => {
    directory = await mkdtemp(join(tmpdir(), 'databases-'));
    const url = pgliteIn(`${directory}/data`);
    {
      await using storage = await openStorage({ databases: { main: url, alias: url } }, { environment: {} });
      await storage.collection(Notes).insert({ text: 'a' }, { id: 'a' });
      expect(await storage.collection(Notes, { on: 'alias' }).count({ text: 'a' })).toBe(1);
      expect(() => storage.collection(Others, { on: 'alias' })).toThrow(
        expect.objectContaining({
          code: 'VALIDATION',
          details: { collection: 'notes', database: 'alias', differing: ['fields'] },
        }),
      );
    }
    const unequal = openStorage({ databases: { main: url, alias: { url, acquireTimeout: 1 } } }, { environment: {} });
    await expect(unequal).rejects.toEqual(
      expect.objectContaining({
        code: 'CONFIGURATION',
        message: expect.stringMatching(/databases\.alias and databases\.main/) as unknown,
      }),
    );
  });
});

describe("the process's manager", () => {
  let directory: string;
  afterEach(async () => {
    await resetStorageManager();
    await rm(directory, { recursive: true });
  });

  test('refuses a file that says something else than it was opened with, and takes one that does not', async () => {
    directory = await mkdtemp(join(tmpdir(), 'files-'));
    await writeFile(join(directory, 'a.yaml'), 'databases:\n  main: "memory:"\n');
    await writeFile(join(directory, 'same.yaml'), 'databases: { main: { url: "memory:" } }\n');
    await writeFile(join(directory, 'b.yaml'), 'databases:\n  main: "memory:"\ntenancy: required\n');
    const named = (file: string) => ({ file, directory, environment: {} });
    const manager = await getStorageManager(undefined, named('a.yaml'));
    expect(await getStorageManager()).toBe(manager);
    expect(await getStorageManager(undefined, named('same.yaml'))).toBe(manager);
    await expect(getStorageManager(undefined, named('b.yaml'))).rejects.toMatchObject({ code: 'CONFIGURATION' });
    await expect(getStorageManager(undefined, named('none.yaml'))).rejects.toMatchObject({ code: 'CONFIGURATION' });
  });
});

describe('no secret of a third party is shown', () => {
  test('by any handle, though the provider keeps its settings in plain sight', async () => {
    class Open {
      readonly name = 'vectors:open';
      readonly capabilities = {};
      constructor(readonly settings: unknown) {}
      async open(): Promise<void> {}
      async check(): Promise<{ status: 'healthy' }> {
        return { status: 'healthy' };
      }
      async close(): Promise<void> {}
    }
    const apiKey = { doc: 'Key.', format: 'string', default: null, sensitive: true } as const;
    registerVectorProvider('open', { settings: { apiKey } })(withOperations(Open) as never);
    await using storage = await openStorage(
      { databases: { main: 'memory:' }, vectors: { open: { apiKey: SECRET } } },
      { environment: {} },
    );
    expect(storage.settings.vectors.providers['open']?.['apiKey']).toBe(SECRET);
    const tenant = storage.tenant('acme');
    await tenant.transaction(async (tx) => {
      for (const handle of [storage, tenant, tx, storage.vectors('open'), tenant.vectors('open'), tx.vectors()]) {
        expect(inspect(handle, { depth: 20 })).not.toContain(SECRET);
        expect(JSON.stringify(handle)).not.toContain(SECRET);
      }
      expect(inspect(tx)).toBe("Transaction { tenant: 'acme' }");
    });
    expect(inspect(tenant.vectors('open'))).toBe("VectorStore { provider: 'vectors:open', tenant: 'acme' }");
  });

  test('by an error, whose cause stays reachable', () => {
    const foreign = Object.assign(new Error(`cannot connect with ${SECRET}`), { code: 'ECONNREFUSED', url: SECRET });
    const many = new AggregateError([foreign, new StorageError('CLOSED', 'over')], SECRET);
    for (const cause of [foreign, many, new StorageError('INTERNAL', 'inner', { cause: foreign })]) {
      const error = new StorageError('UNAVAILABLE', 'The server cannot be reached', { cause, component: 'main' });
      expect(error.cause).toBe(cause);
      // The last as Node prints an error that nobody caught.
      const shown = [inspect(error, { depth: 20 }), JSON.stringify(error), inspect(error, { customInspect: false })];
      for (const text of shown) {
        expect(text).toContain('The server cannot be reached');
        expect(text).not.toContain(SECRET);
      }
      expect(shown[0]).toContain("code: 'UNAVAILABLE'");
      expect(shown[0]).toContain('at ');
    }
    expect(inspect(new StorageError('UNAVAILABLE', 'x', { cause: foreign }))).toContain("cause: 'ECONNREFUSED'");
    expect(inspect(new StorageError('UNAVAILABLE', 'x', { cause: many }))).toContain('over');
  });
});
