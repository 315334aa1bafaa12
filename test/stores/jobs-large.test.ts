/** Runs that are large, many of them together: more than one batch may write, and each is claimed, kept and ended all the same. */
import { describe, expect, test } from '@jest/globals';
import { openStorage, type ClaimedRun, type StorageError } from '../../src/index.js';
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
    }, 60_000);
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
}, 60_000);
