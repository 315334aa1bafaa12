/** Runs that are large, many of them together: more than one batch may write, and each is claimed, kept and ended all the same. */
import { describe, expect, test } from '@jest/globals';
import { openStorage, type ClaimedRun, type StorageError } from '../../src/index.js';
import { databaseOf } from '../support/open-parts.js';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';
import { newJob } from './jobs-target.js';

const PAYLOAD = 'x'.repeat(524_286);
/** Together they are above 8 MiB. */
const COUNT = 18;

for (const target of storageTargets('large runs'))
  describe(`large runs on ${target.name}`, () => {
    const open = useStorage(target);

    test('wait at a limit and are taken, and hold up no other tenant', async () => {
      const storage = open();
      if (!storage.jobs.capabilities.claims) return expect(target.transactions).toBe(false);
      const [a, b] = [storage.tenant('a'), storage.tenant('b')];
      const limited = await newJob(a, { maxConcurrent: COUNT - 1 });
      for (let i = 0; i < COUNT; i++) await a.jobs.enqueueRun(limited.id, { payload: PAYLOAD });
      const { id } = await b.jobs.enqueueRun((await newJob(b)).id);
      const taken: ClaimedRun[] = [];
      const claim = async (): Promise<readonly ClaimedRun[]> => {
        const runs = await storage.jobs.claimDue({ workerId: 'w', limit: 100, leaseSeconds: 600 });
        taken.push(...runs);
        return runs;
      };
      while ((await claim()).length > 0);
      expect(taken.filter(({ tenantId }) => tenantId === 'b')).toMatchObject([{ id }]);
      const held = taken.filter(({ tenantId }) => tenantId === 'a');
      expect(held).toHaveLength(COUNT - 1);
      for (const run of held) await a.jobs.complete(run.id, run.token);
      expect(await claim()).toMatchObject([{ jobId: limited.id, payload: PAYLOAD }]);
      const last = taken.at(-1)!;
      await a.jobs.complete(last.id, last.token);
    });
  });

test('large runs are kept by the worker that holds them all', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  const { jobs } = storage;
  const job = await newJob(storage, { retry: { maxAttempts: 1 } });
  const ids: string[] = [];
  for (let i = 0; i < COUNT; i++) ids.push((await jobs.enqueueRun(job.id, { payload: PAYLOAD })).id);
  const told: StorageError[] = [];
  storage.on('error', (error) => told.push(error));
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => (end = resolve));
  const leases = new Map<string, Date>();
  await using worker = jobs.work(
    async ({ id, dueAt }) => {
      leases.set(id, dueAt);
      await ended;
    },
    { concurrency: COUNT, leaseSeconds: 6, poll: 20 },
  );
  while (leases.size < COUNT) await new Promise((resolve) => setTimeout(resolve, 20));
  for (const id of ids)
    while ((await jobs.getRun(id)).dueAt! <= leases.get(id)! && told.length === 0)
      await new Promise((resolve) => setTimeout(resolve, 50));
  expect(told).toEqual([]);
  end();
  while (worker.status().inFlight > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(worker.status()).toMatchObject({ succeeded: COUNT, lost: 0, failed: 0 });
});

test('large runs that end together are written, and nobody is told of a fault', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  const told: StorageError[] = [];
  storage.on('error', (error) => told.push(error));
  const job = await newJob(storage);
  for (let i = 0; i < COUNT; i++) await storage.jobs.enqueueRun(job.id, { payload: PAYLOAD });
  const result = 'x'.repeat(262_142);
  await using worker = storage.jobs.work(() => result, { concurrency: COUNT, poll: 20 });
  while (worker.status().succeeded + worker.status().lost < COUNT) await new Promise((done) => setTimeout(done, 20));
  expect([worker.status().lost, told]).toEqual([0, []]);
});

test('a run that kept a checkpoint is ended by one write', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  const { backend } = databaseOf(storage);
  const write = backend.write.bind(backend);
  let ends = 0;
  backend.write = (scope, writes, context) => {
    if (writes.some((one) => 'value' in one && one.value['type'] === 'job.run_succeeded')) ends++;
    return write(scope, writes, context);
  };
  const { id } = await storage.jobs.enqueueRun((await newJob(storage)).id);
  await using worker = storage.jobs.work((_run, { checkpoint }) =>
    checkpoint({ stepIndex: 1, stepName: 'one', state: 1 }),
  );
  while (worker.status().succeeded === 0) await new Promise((done) => setTimeout(done, 5));
  expect(await storage.jobs.getRun(id)).toMatchObject({ status: 'succeeded', checkpoint: { stepIndex: 1 } });
  expect(ends).toBe(1);
});
