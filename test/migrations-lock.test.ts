/** Who may migrate next: after a holder that is frozen, one that closed in the middle, and a step that failed. */
import { expect, test } from '@jest/globals';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Pool as Client } from 'pg';
import {
  defineCollection,
  isStorageError,
  openStorage,
  type MigrationStep,
  type OperationMessage,
  type StorageError,
  type Transaction,
} from '../src/index.js';
import { AheadClock, openOn } from './support/ahead-clock.js';
import { until } from './support/postgres/fixture.js';
import { sharedMemory } from './support/shared-memory.js';
import { storageTargets } from './support/storage-targets.js';

type Step = MigrationStep<Transaction>;
const step = (version: number, up: Step['up'] = async () => undefined): Step => ({
  version,
  name: `step-${version}`,
  checksum: `${version}`,
  up,
});
const refusalOf = (work: Promise<unknown>): Promise<StorageError> =>
  work.then(
    () => Promise.reject(new Error('nothing thrown')),
    (error: unknown) => error as StorageError,
  );
// Of a database in memory nothing is left for another manager.
const ON_SERVERS = storageTargets('the lock of migrations').filter(
  ({ name, transactions }) => transactions && ['postgres', 'mongo'].includes(name),
);

ON_SERVERS.filter(({ name }) => name === 'postgres').forEach(({ name, prepare }) =>
  test(`a holder that is frozen on ${name} is waited for beyond the time of one operation`, async () => {
    const { url, drop } = await prepare();
    const clock = new AheadClock();
    const storage = await openOn(clock, { databases: { main: url }, lifecycle: { operationTimeout: 30_000 } });
    await storage.migrations([step(1)]).up();
    // As a process that stands still in a step: its lease is over, and its transaction has the row of the lock.
    const frozen = await storage.sql<Client>().connect();
    await frozen.query('BEGIN');
    await frozen.query("UPDATE quartermaster.qm_migrations SET version = version WHERE id = 'lock'");
    let thawed: Promise<unknown> | undefined;
    const onOperation = (message: unknown): void => {
      const { operation, error } = message as OperationMessage;
      if (operation === 'transaction' && isStorageError(error, 'TIMEOUT')) thawed ??= frozen.query('ROLLBACK');
    };
    subscribe('quartermaster:operation', onOperation);
    try {
      const migrating = storage.migrations([step(1), step(2)]).up({ wait: 120_000 });
      await until(async () => (await storage.operations().blocking()).length > 0);
      clock.skip(30_000);
      expect((await migrating).steps).toMatchObject([{ version: 2 }]);
    } finally {
      unsubscribe('quartermaster:operation', onOperation);
      await (thawed ?? frozen.query('ROLLBACK'));
      frozen.release();
      await storage.close();
      await drop();
    }
    expect(thawed).toBeDefined();
  }),
);

ON_SERVERS.forEach(({ name, prepare }) =>
  test(`a step on ${name} that uses a collection which does not fit its records is named`, async () => {
    const { url, drop } = await prepare();
    const databases = { main: url };
    const Loose = defineCollection<{ n: unknown }>({ name: 'lock_things', id: 'given' });
    const Strict = defineCollection<{ n: number }>({ name: 'lock_things', id: 'given', fields: { n: 'number' } });
    const steps = [step(1), step(2, (tx) => tx.collection(Strict).insert({ n: 1 }, { id: 'b' }))];
    const first = await openStorage({ databases }, { environment: {} });
    await first.collection(Loose).save({ n: 'text' }, { id: 'a' });
    await first.close();
    const second = await openStorage({ databases }, { environment: {} });
    expect(await refusalOf(second.migrations(steps).up())).toMatchObject({
      code: 'MIGRATION',
      details: { version: 2, name: 'step-2', direction: 'up', reason: 'failed', code: 'MIGRATION' },
      cause: { code: 'MIGRATION' },
    });
    await second.close();
    await drop();
  }),
);

test.each([
  ['the last', [], undefined],
  ['another', [step(2)], 'CLOSED'],
])('a close waits until the lock is given back after %s step', async (_which, more: Step[], code) => {
  const open = sharedMemory();
  const [first, second] = [await open(), await open()];
  const told: StorageError[] = [];
  first.on('error', (error) => void told.push(error));
  let go!: () => void;
  const gate = new Promise<void>((resolve) => (go = resolve));
  let begun!: () => void;
  const running = new Promise<void>((resolve) => (begun = resolve));
  const held = step(1, () => {
    begun();
    return gate;
  });
  const migrating = first.migrations([held, ...more]).up();
  const ended = code === undefined ? migrating : refusalOf(migrating);
  await running;
  const closing = first.close({ deadline: 60_000 });
  go();
  await closing;
  // Nobody waits for a lease to end.
  const { steps } = await second.migrations([held, ...more, step(9)]).up({ wait: 0 });
  expect(steps.map(({ version }) => version)).toEqual([...more.map(({ version }) => version), 9]);
  expect(await ended).toMatchObject(code === undefined ? { steps: [{ version: 1 }] } : { code });
  expect(told).toEqual([]);
  await second.close();
});
