/** What a step of SQL may leave behind: nothing of the session, and no transaction but the library's. */
import { describe, expect, test } from '@jest/globals';
import {
  defineCollection,
  openStorage,
  type MigrationStep,
  type StorageError,
  type Transaction,
} from '../src/index.js';
import type { StorageManager } from '../src/manager.js';
import { MIGRATIONS } from '../src/migrations/records.js';
import { LIBRARY } from '../src/collection/library.js';
import { databaseOf } from './support/open-parts.js';
import { sharedMemory } from './support/shared-memory.js';
import { storageTargets } from './support/storage-targets.js';

type Step = MigrationStep<Transaction>;
type Rows = { rows: Record<string, unknown>[] };
const Notes = defineCollection<{ text: string }>({ name: 'notes', id: 'given' });
const step = (version: number, up: Step['up']): Step => ({ version, name: `step-${version}`, up });
const refusalOf = async (work: Promise<unknown>): Promise<StorageError> =>
  work.then(
    () => Promise.reject(new Error('nothing thrown')),
    (error: unknown) => error as StorageError,
  );

const TARGETS = storageTargets('sessions of migrations').filter(({ name }) => ['postgres', 'pglite'].includes(name));

describe.each(TARGETS)('the session of SQL steps on $name', ({ name, prepare }) => {
  const open = async (work: (storage: StorageManager) => Promise<void>): Promise<void> => {
    const { url, drop } = await prepare();
    const pool = name === 'postgres' ? { pool: { max: 1 } } : {};
    const storage = await openStorage({ databases: { main: { url, ...pool } } }, { environment: {} });
    await work(storage).finally(async () => {
      await storage.close();
      await drop();
    });
  };
  /** Without the raw client, which cleans the connection by itself. */
  const settings = async (storage: StorageManager, ...names: string[]): Promise<unknown[]> => {
    const { pool } = databaseOf(storage) as unknown as { pool: { query(...all: unknown[]): Promise<Rows> } };
    const columns = names.map((setting, i) => `current_setting('${setting}') AS s${i}`).join(', ');
    const context = { now: new Date(), deadline: performance.now() + 10_000 };
    const { rows } = await pool.query(`SELECT ${columns}`, [], context);
    return Object.values(rows[0]!);
  };

  test('is as it was when the step has run', () =>
    open(async (storage) => {
      const names = ['search_path', 'TimeZone', 'role', 'default_transaction_read_only'];
      await storage.collection(Notes).save({ text: 'a' }, { id: 'a' });
      const before = await settings(storage, ...names);
      const up =
        "SELECT set_config('search_path', '', false); SET statement_timeout = '7s'; SET TIME ZONE 'Asia/Tokyo'; " +
        'SET ROLE pg_monitor';
      await storage.migrations([step(1, up)]).up();
      expect(await settings(storage, ...names)).toEqual(before);
      expect(await settings(storage, 'statement_timeout')).not.toEqual(['7s']);
      await storage.migrations([step(1, up), step(2, 'SET default_transaction_read_only = on')]).up();
      expect(await settings(storage, ...names)).toEqual(before);
      await storage.collection(Notes).save({ text: 'b' }, { id: 'a' });
    }));

  test('that was made read-only lets go of the lock', () =>
    open(async (storage) => {
      const steps = [step(1, 'SET default_transaction_read_only = on'), step(2, 'CREATE TABLE two (a int)')];
      await storage.migrations(steps.slice(0, 1)).up();
      // Less than the lease of a lock that was not given back.
      const { steps: ran } = await storage.migrations(steps).up({ wait: 20_000 });
      expect(ran).toMatchObject([{ version: 2 }]);
    }));

  test.each([
    ['and began another', 'BEGIN'],
    ['and failed', 'SELECT 1/0'],
  ])('a step that ended its transaction %s is told as such', (_case, after) =>
    open(async (storage) => {
      // The first look takes these names for the ends of a quoted text.
      const up = `CREATE TABLE hidden (a int); SELECT 1 AS a$x$; COMMIT; ${after}; SELECT 1 AS a$x$`;
      const error = await refusalOf(storage.migrations([step(1, up)]).up());
      expect(error).toMatchObject({ code: 'MIGRATION', details: { reason: 'transaction-ended' } });
      expect(error.message).not.toContain('was rolled back');
      expect(await storage.migrations([step(1, up)]).status()).toMatchObject([{ state: 'pending' }]);
    }),
  );
});

test('a lock that could not be given back is told', async () => {
  const open = sharedMemory();
  const storage = await open();
  const told: StorageError[] = [];
  storage.on('error', (error) => void told.push(error));
  const { backend } = databaseOf(storage);
  const write = backend.write.bind(backend);
  const fault = new Error('no');
  const failing = step(1, async () => {
    backend.write = async (scope, writes, context) => {
      if (scope === LIBRARY && writes.some(({ collection, id }) => collection === MIGRATIONS && id === 'beat'))
        throw fault;
      return write(scope, writes, context);
    };
  });
  expect((await storage.migrations([failing]).up()).steps).toHaveLength(1);
  expect(told).toMatchObject([{ code: 'MIGRATION', details: { reason: 'lock-kept' }, cause: fault }]);
  await storage.close();
});
