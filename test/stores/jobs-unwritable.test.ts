/** Runs that grow, and are tried often: each can be written as often as it must be, and one that cannot be holds up no other. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { CollectionDefinition } from '../../src/collection/definition.js';
import type { Collection } from '../../src/collection/collection.js';
import { RUNS, type RunValue } from '../../src/adapters/jobs/records.js';
import { openStorage, type StorageError, type StorageManager } from '../../src/index.js';
import { settled } from '../support/manual-clock.js';
import { newJob } from './jobs-target.js';

let storage: StorageManager;
beforeAll(async () => {
  storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
});
afterAll(() => storage.close());

/** Makes the run larger than a record may be when it is written, as one of an earlier version could be. */
async function grow(id: string): Promise<void> {
  const open = storage.jobs as unknown as { records(definition: CollectionDefinition<RunValue>): Collection<RunValue> };
  await open.records(RUNS).patch(id, { set: { payload: 'x'.repeat(1_048_576) } });
}

const AT_ONCE = { backoffSeconds: 0, jitterSeconds: 0 };

test('a run that is given all that it may be is failed, expires and is tried again', async () => {
  const { jobs } = storage;
  const job = await newJob(storage, { name: 'full', retry: { ...AT_ONCE, maxAttempts: 3 } });
  const full = (bytes: number): string => 'x'.repeat(bytes - 2);
  const payload = full(524_288);
  const refused = { code: 'VALIDATION' };
  await expect(jobs.enqueueRun(job.id, { payload: `${payload}x` })).rejects.toMatchObject(refused);
  await expect(jobs.enqueueRuns(job.id, [{ payload: `${payload}x` }])).rejects.toMatchObject(refused);
  await expect(jobs.enqueueRun(job.id, { metadata: { a: full(65_536) } })).rejects.toMatchObject(refused);
  const schedule = { expression: '@yearly', payload: `${payload}x` };
  await expect(jobs.upsertSchedule(job.id, schedule)).rejects.toMatchObject(refused);
  const { id } = await jobs.enqueueRun(job.id, { payload, metadata: { a: full(65_530) } });
  const claim = { workerId: 'w', jobs: ['full'], leaseSeconds: 10 };
  const [run] = await jobs.claimDue(claim);
  const step = { stepIndex: 1, stepName: '"'.repeat(1_020) };
  const checkpoint = { ...step, state: full(262_144) };
  const larger = { ...step, state: full(262_145) };
  await expect(jobs.saveCheckpoint(id, run!.token, larger)).rejects.toMatchObject(refused);
  await jobs.saveCheckpoint(id, run!.token, checkpoint);
  await jobs.fail(id, run!.token, { error: '"'.repeat(4_096) });
  const [again] = await jobs.claimDue(claim);
  const [last] = await jobs.claimDue({ ...claim, now: new Date(Date.now() + 20_000) });
  expect([again, last]).toMatchObject([
    { id, attempt: 2 },
    { id, attempt: 3 },
  ]);
  expect(await jobs.complete(id, last!.token)).toMatchObject({ status: 'succeeded' });
});

test('a run that is given all that it may be ends with the result of its handler', async () => {
  const { jobs } = storage;
  const job = await newJob(storage, { name: 'fuller', retry: { ...AT_ONCE, maxAttempts: 1 } });
  const full = (bytes: number): string => 'x'.repeat(bytes - 2);
  const { id } = await jobs.enqueueRun(job.id, { payload: full(524_288) });
  const metadata = { a: full(65_530) };
  const larger = jobs.updateRun(id, { metadata: { a: full(65_531) } });
  await expect(larger).rejects.toMatchObject({ code: 'VALIDATION', details: { key: 'changes.metadata' } });
  await jobs.updateRun(id, { metadata });
  const [result, state] = [full(262_144), full(262_144)];
  const worker = jobs.work({
    fuller: async (_run, { checkpoint }) => {
      await checkpoint({ stepIndex: 1, stepName: 'one', state });
      return result;
    },
  });
  while (worker.status().succeeded + worker.status().lost === 0) await settled();
  await worker.stop();
  const run = await jobs.getRun(id);
  expect(run).toMatchObject({ status: 'succeeded', attempt: 1, result, metadata });
  // There is no room for both.
  expect(run.checkpoint).toBeUndefined();
});

test('one that cannot be written again ends without what is too much, and the others of its tenant go on', async () => {
  const { jobs } = storage;
  const job = await newJob(storage, { name: 'kept', retry: { ...AT_ONCE, maxAttempts: 3 } });
  const [large, small] = await jobs.enqueueRuns(job.id, [{ payload: 1 }, { payload: 2 }]);
  const claim = { workerId: 'w', jobs: ['kept'], leaseSeconds: 10, limit: 2 };
  const taken = await jobs.claimDue(claim);
  expect(taken).toHaveLength(2);
  // Its start is told; then nothing of it becomes less when it is written.
  for (const { id, token } of taken) await jobs.heartbeat(id, token, { leaseSeconds: 10 });
  await grow(large!.id);
  const later = { ...claim, now: new Date(Date.now() + 20_000) };
  expect(await jobs.claimDue(later)).toMatchObject([{ id: small!.id, attempt: 2 }]);
  const ended = await jobs.getRun(large!.id);
  expect(ended).toMatchObject({ status: 'failed', dead: true, error: 'too large to be written again' });
  expect(ended.payload).toBeUndefined();
});

test('one behind a limit that cannot be written is told, and the claim takes those of other tenants', async () => {
  const told: StorageError[] = [];
  const end = storage.on('error', (error) => told.push(error));
  const limited = { name: 'limited', maxConcurrent: 1 };
  const { id: jobId } = await newJob(storage, limited);
  await grow((await storage.jobs.enqueueRun(jobId)).id);
  const other = storage.tenant('other');
  const run = await other.jobs.enqueueRun((await newJob(other, limited)).id);
  const taken = await storage.jobs.claimDue({ workerId: 'w', jobs: ['limited'], limit: 10 });
  expect(taken).toMatchObject([{ id: run.id, tenantId: 'other' }]);
  expect(told).toMatchObject([{ code: 'VALIDATION' }]);
  end();
  await storage.jobs.delete(jobId);
});

test('no backoff stays none, however often it is multiplied', async () => {
  const { jobs } = storage;
  const job = await newJob(storage, { name: 'often', retry: { ...AT_ONCE, maxAttempts: 1_000, multiplier: 100 } });
  const { id } = await jobs.enqueueRun(job.id);
  for (let attempt = 1; attempt <= 160; attempt++) {
    const [run] = await jobs.claimDue({ workerId: 'w', jobs: ['often'] });
    expect(run).toMatchObject({ id, attempt });
    await jobs.fail(id, run!.token, { error: 'no' });
  }
});
