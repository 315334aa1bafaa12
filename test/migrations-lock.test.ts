/** Who may migrate next: after a holder that is frozen, one that closed in the middle, and a step that failed. */
import { expect, test } from '@jest/globals';
import {
  defineCollection,
  openStorage,
  type MigrationStep,
  type StorageError,
  type Transaction,
} from '../src/index.js';
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
