/** What is old goes, in steps that are each whole: no run without its job, nothing untold. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, expect, test } from '@jest/globals';
import { isStorageError, openStorage } from '../../src/index.js';
import { RUNS } from '../../src/adapters/jobs/records.js';
import { RetentionSteps } from '../../src/adapters/jobs/retention-steps.js';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';
import { newJob } from './jobs-target.js';

/** In days: what was done before the test came here. */
const NOW = 0.000_000_001;

/** Until what was done is of a time before now. */
async function pass(): Promise<void> {
  for (const then = Date.now() + 1; Date.now() <= then;) await new Promise((resolve) => setImmediate(resolve));
}

for (const target of storageTargets('job retention'))
  describe(`job retention on ${target.name}`, () => {
    const open = useStorage(target);

    test('tells the jobs that it deletes, for a while', async () => {
      const storage = open();
      if (!storage.jobs.capabilities.changes) return expect(target.transactions).toBe(false);
      const { jobs } = storage.tenant('told');
      const told: string[] = [];
      const stop = storage.on('job.deleted', ({ aggregateId }) => void told.push(aggregateId));
      const made: { readonly id: string }[] = [];
      for (const status of ['succeeded', 'failed', 'draft'] as const)
        made.push(await newJob(storage.tenant('told'), { status }));
      // Noted without an end: it has ended all the same.
      await jobs.createRun(made[0]!.id, { status: 'succeeded' });
      await pass();
      const report = { jobs: 2, runs: 1 };
      expect(await jobs.retain({ jobDays: NOW }, { dryRun: true })).toEqual({ ...report, dryRun: true });
      expect(await jobs.retain({ jobDays: NOW })).toEqual({ ...report, dryRun: false });
      stop();
      const gone = made.slice(0, 2).map(({ id }) => id);
      expect(told.sort()).toEqual([...gone].sort());
      for (const id of gone) {
        await expect(jobs.get(id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
        expect(await jobs.listEvents(id)).toMatchObject([{ type: 'job.deleted', payload: { jobId: id } }]);
      }
      expect(await jobs.retain({ jobDays: NOW })).toEqual({ jobs: 0, runs: 0, dryRun: false });
    });
  });

test('a retention leaves no run without its job, whoever makes one meanwhile', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  const { jobs } = storage;
  const made: { readonly id: string }[] = [];
  for (let i = 0; i < 200; i++) made.push(await newJob(storage, { status: 'succeeded' }));
  const runs: string[] = [];
  const enqueued: Promise<void>[] = [];
  const enqueue = async (id: string, turns: number): Promise<void> => {
    for (let turn = 0; turn < turns; turn++) await Promise.resolve();
    const run = await jobs.enqueueRun(id).catch((error: unknown) => {
      if (!isStorageError(error, 'NOT_FOUND') && !isStorageError(error, 'CONFLICT')) throw error;
    });
    if (run !== undefined) runs.push(run.id);
  };
  // The retention comes to the next job when one is gone; the runs are made at any point of what it does with it.
  storage.on('job.deleted', ({ aggregateId }) => {
    const next = made.findIndex(({ id }) => id === aggregateId) + 1;
    if (next < made.length) enqueued.push(enqueue(made[next]!.id, next));
  });
  await pass();
  const report = await jobs.retain({ jobDays: NOW });
  await Promise.all(enqueued);
  expect(report.runs).toBe(0);
  const left = (await Promise.all(made.map(({ id }) => jobs.get(id).catch(() => undefined)))).filter((job) => job);
  expect(report.jobs).toBe(made.length - left.length);
  // One that lost to the other as often as it was tried again left the job as it was.
  expect(runs.length).toBeLessThanOrEqual(left.length);
  for (const id of runs) await jobs.get((await jobs.getRun(id)).jobId);
});

test('a retention that walks the old runs of a job leaves one that ends meanwhile, and the job', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  const { jobs } = storage;
  const { id } = await newJob(storage, { status: 'succeeded' });
  const finishedAt = new Date(Date.now() - 60_000);
  for (let i = 0; i < 250; i++) await jobs.createRun(id, { status: 'succeeded', finishedAt });
  await pass();
  let working: Promise<string> | undefined;
  const work = async (): Promise<string> => {
    await jobs.enqueueRun(id);
    const [run] = await jobs.claimDue({ workerId: 'w' });
    return (await jobs.complete(run!.id, run!.token, { result: 42 })).id;
  };
  const onOperation = (message: unknown): void => {
    const { operation, collection } = message as Record<string, unknown>;
    if (operation === 'each' && collection === RUNS.name) working ??= work();
  };
  subscribe('quartermaster:operation', onOperation);
  try {
    expect(await jobs.retain({ jobDays: NOW })).toEqual({ jobs: 0, runs: 250, dryRun: false });
  } finally {
    unsubscribe('quartermaster:operation', onOperation);
  }
  expect(await jobs.getRun((await working)!)).toMatchObject({ status: 'succeeded', result: 42 });
  expect((await jobs.get(id)).status).toBe('succeeded');
});

test('the steps of a retention take each run once, however many jobs they are of', async () => {
  const taken: string[] = [];
  const steps = new RetentionSteps(false);
  const drop = (ids: readonly string[]): Promise<number> => {
    expect(ids.length).toBeLessThanOrEqual(100);
    taken.push(...ids);
    return Promise.resolve(ids.length);
  };
  const runsOf = async function* (job: number): AsyncGenerator<{ id: string }> {
    for (let i = 0; i < 130; i++) yield await Promise.resolve({ id: `${job}:${i}` });
  };
  for (let job = 0; job < 20; job++) await steps.take(runsOf(job), drop, 5);
  expect(taken).toHaveLength(20 * 125);
  expect(new Set(taken).size).toBe(steps.count);
});
