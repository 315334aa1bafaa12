/** What the age of jobs and runs decides: what is kept, what comes after a pause or a failure, in which order, and what figures tell. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { offsetClock, systemClock } from '../../src/clock.js';
import type { ClaimedRun, JobChange, JobStore, TenantStorage } from '../../src/index.js';
import { StorageManager } from '../../src/manager.js';
import { registry } from '../../src/registry.js';
import { loadSettings } from '../../src/settings.js';
import { ManualClock } from '../support/manual-clock.js';
import { openManager } from '../support/shared-memory.js';
import { newJob } from './jobs-target.js';

type ListJobsOptions = NonNullable<Parameters<JobStore['list']>[0]>;

let storage: StorageManager;
let days = 0;
beforeAll(async () => {
  const settings = await loadSettings({ registry, environment: {}, overrides: { databases: { main: 'memory:' } } });
  storage = new StorageManager({ registry, settings, clock: offsetClock(systemClock, () => days * 86_400_000) });
  await storage.open();
});
afterAll(() => storage.close());

/** Claims and completes the run of a job that is due. */
async function work({ jobs }: TenantStorage, jobName: string): Promise<void> {
  const [run] = await storage.jobs.claimDue({ workerId: 'w', jobs: [jobName] });
  await jobs.complete(run!.id, run!.token);
}

test('a job that is in use stays, with the runs that are not old', async () => {
  const tenant = storage.tenant('in-use');
  const { jobs } = tenant;
  const { id, name } = await newJob(tenant);
  await jobs.rerun(id);
  await work(tenant, name);
  expect(await jobs.get(id)).toMatchObject({ status: 'succeeded' });
  days += 9;
  const later = await jobs.enqueueRun(id);
  await work(tenant, name);
  const noted = await jobs.createRun(id, { status: 'succeeded' });
  days += 3;
  const policy = { jobDays: 10, keepRuns: 0 };
  const report = { jobs: 0, runs: 1 };
  expect(await jobs.retain(policy, { dryRun: true })).toEqual({ ...report, dryRun: true });
  expect(await jobs.retain(policy)).toEqual({ ...report, dryRun: false });
  expect((await jobs.listRuns(id)).items.map((run) => run.id)).toEqual([noted.id, later.id]);
  days += 8;
  expect(await jobs.retain(policy)).toEqual({ jobs: 1, runs: 2, dryRun: false });
});

test('a noted run has an end when it is over, and goes when that is long ago', async () => {
  const { jobs } = storage.tenant('noted');
  const job = await newJob(storage.tenant('noted'));
  const whole = await jobs.createRun(job.id, { status: 'failed' });
  const begun = await jobs.createRun(job.id, { status: 'running' });
  expect(begun.finishedAt).toBeUndefined();
  const ended = await jobs.updateRun(begun.id, { status: 'succeeded' });
  expect([whole.finishedAt, ended.finishedAt]).toEqual([expect.any(Date), expect.any(Date)]);
  const finishedAt = new Date(Date.UTC(2026, 0, 1));
  const [one, two] = [await jobs.createRun(job.id, { status: 'succeeded', finishedAt }), await jobs.createRun(job.id)];
  expect(one).toMatchObject({ finishedAt });
  expect(await jobs.updateRun(two.id, { status: 'cancelled', finishedAt })).toMatchObject({ finishedAt });
  expect(await jobs.updateRun(whole.id, { metadata: { b: 1 } })).toMatchObject({ finishedAt: whole.finishedAt });
  days += 2;
  expect(await jobs.retain({ jobDays: 1, keepRuns: 0 })).toEqual({ jobs: 0, runs: 4, dryRun: false });
});

test('a schedule that is resumed goes on after a rerun during its pause', async () => {
  const tenant = storage.tenant('paused');
  const { jobs } = tenant;
  const { id, name } = await newJob(tenant);
  await jobs.upsertSchedule(id, { scheduleType: 'interval', expression: '1d' });
  await jobs.transition(id, 'scheduled');
  await jobs.pauseSchedule(id);
  await jobs.rerun(id);
  await work(tenant, name);
  expect(await jobs.get(id)).toMatchObject({ status: 'scheduled' });
  await jobs.resumeSchedule(id);
  days += 2;
  await work(tenant, name);
  expect((await jobs.listRuns(id)).items).toMatchObject([{ trigger: 'schedule' }, { trigger: 'rerun' }]);
});

/** Twenty runs of a job that is tried four times, and how long each of them waits from a time on. */
async function triedAgain(own: StorageManager) {
  const retry = { maxAttempts: 4, backoffSeconds: 10, multiplier: 3, jitterSeconds: 4 };
  const { id } = await newJob(own, { retry });
  const runs = await own.jobs.enqueueRuns(
    id,
    Array.from({ length: 20 }, () => ({})),
  );
  const take = (now?: Date) => own.jobs.claimDue({ workerId: 'w', limit: 20, leaseSeconds: 1, now });
  const waits = async (now: Date): Promise<number[]> => {
    const { items } = await own.jobs.listRuns(id);
    return items.map(({ status, dueAt }) => (status === 'scheduled' ? dueAt!.getTime() - now.getTime() : NaN));
  };
  return { runs, take, waits };
}

function expectWaits(waits: readonly number[], least: number): void {
  expect(waits).toHaveLength(20);
  expect(Math.min(...waits)).toBeGreaterThanOrEqual(least);
  expect(Math.max(...waits)).toBeLessThanOrEqual(least + 4_000);
  expect(new Set(waits).size).toBeGreaterThan(1);
}

test('an attempt that failed is tried again after a wait that grows, and a little more by chance', async () => {
  const clock = new ManualClock();
  await using own = await openManager('memory:', clock);
  const { runs, take, waits } = await triedAgain(own);
  for (const least of [10_000, 30_000, 90_000]) {
    for (const { id, token } of await take()) await own.jobs.fail(id, token, { error: 'again' });
    expectWaits(await waits(clock.now()), least);
    await clock.advance(least + 4_000);
  }
  for (const { id, token } of await take()) await own.jobs.fail(id, token, { error: 'again' });
  expect(await own.jobs.getRun(runs[0]!.id)).toMatchObject({ status: 'failed', dead: true, attempt: 4 });
});

test('an attempt whose lease has ended is tried again after the same wait, from the time of the claim that ended it', async () => {
  const clock = new ManualClock();
  await using own = await openManager('memory:', clock);
  const { runs, take, waits } = await triedAgain(own);
  let now = clock.now();
  for (const least of [10_000, 30_000, 90_000]) {
    expect(await take(now)).toHaveLength(20);
    now = new Date(now.getTime() + 500_000);
    expect(await take(now)).toEqual([]);
    expectWaits(await waits(now), least);
    now = new Date(now.getTime() + least + 4_000);
  }
  await take(now);
  now = new Date(now.getTime() + 1_000);
  expect(await take(now)).toEqual([]);
  expect(await own.jobs.getRun(runs[0]!.id)).toMatchObject({ status: 'failed', dead: true, finishedAt: now });
});

test('jobs are listed from the newest, also page by page, and by what is said of them', async () => {
  const clock = new ManualClock();
  await using own = await openManager('memory:', clock);
  const { jobs } = own;
  const ownerId = '00000000-0000-7000-8000-000000000000';
  const made: JobChange[] = [];
  for (const status of ['draft', 'scheduled', 'failed', 'draft', 'cancelled', 'draft', 'scheduled'] as const) {
    const job = await newJob(own, { status, ...(made.length % 3 === 0 ? { ownerId } : {}) });
    made.push(job);
    // Two at a time are made in the same millisecond.
    if (made.length % 2 === 0) await clock.advance(1_000);
  }
  const newest = [...made].sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime() || (a.id < b.id ? 1 : -1));
  const idsOf = (all: readonly { readonly id: string }[]): string[] => all.map(({ id }) => id);
  const listed = async (options: ListJobsOptions): Promise<string[]> => idsOf((await jobs.list(options)).items);
  expect(await listed({})).toEqual(idsOf(newest));
  for (const options of [{}, { status: ['draft', 'scheduled'] }, { ownerId }] as ListJobsOptions[]) {
    const paged: string[] = [];
    let after: string | undefined;
    do {
      const page = await jobs.list({ ...options, limit: 2, after });
      paged.push(...idsOf(page.items));
      after = page.next;
    } while (after !== undefined);
    expect(paged).toEqual(await listed(options));
  }
  expect(await listed({ status: [] })).toEqual([]);
  expect(await listed({ status: 'failed' })).toEqual([made[2]!.id]);
  const some = newest.filter(({ status }) => status === 'draft' || status === 'scheduled');
  expect(await listed({ status: ['draft', 'scheduled'] })).toEqual(idsOf(some));
  expect(await listed({ ownerId })).toEqual(idsOf(newest.filter((job) => job.ownerId === ownerId)));
  expect(await listed({ ownerId, status: 'cancelled' })).toEqual([]);
});

test('a job is given with its newest runs first, and its oldest events', async () => {
  const clock = new ManualClock();
  await using own = await openManager('memory:', clock);
  const { id } = await newJob(own);
  const noted = [];
  for (let i = 0; i < 3; i++) {
    await own.jobs.createRun(id);
    noted.push(await own.jobs.recordEvent(id, { eventType: `noted_${i}` }));
    await clock.advance(1_000);
  }
  const job = await own.jobs.get(id, { withRuns: true, withEvents: true });
  expect(job.runs!.map(({ runNumber }) => runNumber)).toEqual([3, 2, 1]);
  expect(job.events!.map(({ type }) => type)).toEqual(['job.created', ...noted.map(({ type }) => type)]);
  expect(job).not.toHaveProperty('schedule');
  const plain = await own.jobs.get(id);
  for (const absent of ['runs', 'events', 'schedule']) expect(plain).not.toHaveProperty(absent);
});

test('the figures tell what waits and since when, what failed for good, and how long claims had to be waited for', async () => {
  const clock = new ManualClock();
  await using own = await openManager('memory:', clock);
  const { jobs } = own;
  const { id } = await newJob(own);
  const begun = clock.now();
  const after = (seconds: number): Date => new Date(begun.getTime() + seconds * 1_000);
  const nothing = { jobs: { draft: 1 }, runs: {}, dead: 0, claimLatency: { count: 0 } };
  expect(await jobs.stats()).toEqual(nothing);
  for (const seconds of [0, 2, 4, 6, 100]) await jobs.enqueueRun(id, { runAt: after(seconds) });
  const take = async (): Promise<ClaimedRun> => (await jobs.claimDue({ workerId: 'w' }))[0]!;
  await clock.advance(1_000);
  const first = await take();
  await clock.advance(4_000);
  // A held run has not ended, and its wait is not among them yet.
  expect(await jobs.stats()).toEqual({ ...nothing, runs: { running: 1, scheduled: 4 }, oldestDue: after(2) });
  await jobs.complete(first.id, first.token);
  const second = await take();
  await jobs.fail(second.id, second.token, { error: 'no', retryable: false });
  const third = await take();
  await jobs.fail(third.id, third.token, { error: 'again' });
  await clock.advance(2_000);
  const claimLatency = { count: 2, average: 2_000, max: 3_000 };
  const runs = { succeeded: 1, failed: 1, scheduled: 3 };
  expect(await jobs.stats()).toEqual({ jobs: { draft: 1 }, runs, dead: 1, oldestDue: after(6), claimLatency });
  await jobs.transition(id, 'cancelled');
  expect(await jobs.stats()).toEqual({
    jobs: { cancelled: 1 },
    runs: { succeeded: 1, failed: 1, cancelled: 3 },
    dead: 1,
    claimLatency,
  });
  expect(await own.tenant('other').jobs.stats()).toEqual({ ...nothing, jobs: {} });
});
