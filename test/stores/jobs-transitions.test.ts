/** Which status of a job or a run follows which, what holds it back, and what becomes of a job that is rerun. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openStorage, type JobStatus, type RunStatus, type StorageManager } from '../../src/index.js';
import { newJob } from './jobs-target.js';

const GUARDS = ['rosterGuard', 'scheduleGuard', 'tasksGuard'] as const;
type Guard = (typeof GUARDS)[number];

const open = (settings: Partial<Record<Guard, boolean>> = {}): Promise<StorageManager> =>
  openStorage({ databases: { main: 'memory:' }, jobs: settings }, { environment: {} });

let storage: StorageManager;
beforeAll(async () => (storage = await open()));
afterAll(() => storage.close());

const HELD_BACK: Readonly<Record<Guard, object>> = {
  rosterGuard: { code: 'INVALID_TRANSITION', details: { guard: 'roster' } },
  scheduleGuard: { code: 'INVALID_TRANSITION', details: { guard: 'schedule' } },
  tasksGuard: { code: 'DEPENDENCY_INCOMPLETE' },
};

/** A job that one guard alone holds back. */
async function lacking(own: StorageManager, lack: Guard, status: JobStatus = 'draft'): Promise<string> {
  const { id } = await newJob(own, { status, ...(lack === 'rosterGuard' ? { metadata: {} } : {}) });
  if (lack !== 'scheduleGuard') await own.jobs.upsertSchedule(id, { expression: '@yearly' });
  if (lack === 'tasksGuard') await own.jobs.linkTask(id, (await own.tasks.create({ title: 'open' })).id);
  return id;
}

test.each([undefined, ...GUARDS])('with %s turned off a job is held back by the other guards', async (off) => {
  await using own = await open(off && { [off]: false });
  const looked: readonly (readonly [from: JobStatus, to: JobStatus, guards: readonly Guard[]])[] = [
    ['draft', 'scheduled', ['rosterGuard', 'scheduleGuard']],
    ['draft', 'running', GUARDS],
    ['running', 'succeeded', ['tasksGuard']],
    ['running', 'failed', []],
    ['draft', 'cancelled', []],
  ];
  for (const [from, to, guards] of looked)
    for (const lack of GUARDS) {
      const moved = own.jobs.transition(await lacking(own, lack, from), to);
      if (lack === off || !guards.includes(lack)) expect(await moved).toMatchObject({ status: to });
      else await expect(moved).rejects.toMatchObject(HELD_BACK[lack]);
    }
  for (const lack of GUARDS) {
    const id = await lacking(own, lack);
    const rerun = own.jobs.rerun(id);
    if (lack === off || lack === 'scheduleGuard') expect(await rerun).toMatchObject({ status: 'running' });
    else {
      await expect(rerun).rejects.toMatchObject(HELD_BACK[lack]);
      expect((await own.jobs.listRuns(id)).items).toEqual([]);
    }
  }
});

const JOB: Readonly<Record<JobStatus, readonly JobStatus[]>> = {
  draft: ['scheduled', 'running', 'cancelled'],
  scheduled: ['running', 'cancelled'],
  running: ['succeeded', 'failed', 'cancelled', 'scheduled'],
  succeeded: ['scheduled'],
  failed: ['scheduled'],
  cancelled: [],
};

const RUN: Readonly<Record<RunStatus, readonly RunStatus[]>> = {
  scheduled: ['running', 'cancelled', 'failed'],
  running: ['succeeded', 'failed', 'cancelled', 'scheduled'],
  succeeded: [],
  failed: [],
  cancelled: [],
};

interface Changed<S> {
  readonly status: S;
  readonly events: readonly object[];
}

/** Every status after every other one: as the table says, the same one without an event, the rest refused. */
async function expectTable<S extends string>(
  table: Readonly<Record<S, readonly S[]>>,
  make: (status: S) => Promise<string>,
  change: (id: string, to: S) => Promise<Changed<S>>,
): Promise<void> {
  const statuses = Object.keys(table) as S[];
  for (const from of statuses)
    for (const to of statuses) {
      const changed = change(await make(from), to);
      const allowed = table[from];
      if (from === to) expect(await changed).toMatchObject({ status: to, events: [] });
      else if (allowed.includes(to)) expect(await changed).toMatchObject({ status: to, events: [{}] });
      else await expect(changed).rejects.toMatchObject({ code: 'INVALID_TRANSITION', details: { from, to, allowed } });
    }
}

test('a job, and a run that is noted, go from status to status as their tables say', async () => {
  await using own = await open({ rosterGuard: false, scheduleGuard: false, tasksGuard: false });
  const { jobs } = own;
  await expectTable(
    JOB,
    async (status) => (await newJob(own, { status })).id,
    (id, to) => jobs.transition(id, to),
  );
  const { id: jobId } = await newJob(own);
  await expectTable(
    RUN,
    async (status) => (await jobs.createRun(jobId, { status })).id,
    (id, status) => jobs.updateRun(id, { status }),
  );
});

test('what is changed of a run that is noted is told, and nothing of what is so already', async () => {
  const { jobs } = storage;
  const { id: jobId } = await newJob(storage);
  const told = (status: RunStatus): object => ({ type: 'job.run', payload: { jobId, runNumber: 1, status } });
  const run = await jobs.createRun(jobId, { status: 'running' });
  expect(run.events).toMatchObject([told('running')]);
  const ended = await jobs.updateRun(run.id, { status: 'succeeded' }, { ifVersion: run.version, triggeredById: 'ann' });
  expect(ended.events).toMatchObject([{ ...told('succeeded'), triggeredById: 'ann' }]);
  expect(await jobs.updateRun(run.id, { status: 'succeeded' })).toMatchObject({ version: ended.version, events: [] });
  const stale = jobs.updateRun(run.id, { status: 'succeeded' }, { ifVersion: run.version });
  await expect(stale).rejects.toMatchObject({ code: 'CONFLICT' });
  const noted = await jobs.updateRun(run.id, { metadata: { a: 1 } });
  expect(noted.events).toMatchObject([told('succeeded')]);
  expect(await jobs.listEvents(run.id)).toEqual([...run.events, ...ended.events, ...noted.events]);
});

test('a run in a queue takes no status but from who holds or cancels it', async () => {
  const { jobs } = storage;
  const { id } = await jobs.enqueueRun((await newJob(storage)).id);
  for (const status of ['running', 'failed', 'succeeded'] as const)
    await expect(jobs.updateRun(id, { status })).rejects.toMatchObject({
      code: 'CONFLICT',
      details: { id, reason: 'queued' },
    });
  expect(await jobs.updateRun(id, { metadata: { a: 1 } })).toMatchObject({ status: 'scheduled', metadata: { a: 1 } });
});

test.each(['succeeded', 'failed', 'cancelled', 'scheduled'] as const)('a job that was %s is rerun', async (status) => {
  const { jobs } = storage;
  const { id, name } = await newJob(storage, { status });
  await expect(jobs.rerun(id, { ifVersion: 2 })).rejects.toMatchObject({ code: 'CONFLICT' });
  expect((await jobs.listRuns(id)).items).toEqual([]);
  const again = await jobs.rerun(id, { ifVersion: 1 });
  expect(again).toMatchObject({ status: 'running', runs: [{ runNumber: 1, trigger: 'rerun', status: 'scheduled' }] });
  expect(again.runs![0]).toMatchObject({ id: again.currentRunId, metadata: { trigger: 'manual_rerun' } });
  expect(again.runs![0]).not.toHaveProperty('startedAt');
  expect((await jobs.listEvents(id)).at(-1)).toMatchObject({
    type: 'job.status_changed',
    payload: { from: status, to: 'running' },
  });
  const [run] = await jobs.claimDue({ workerId: 'w', jobs: [name] });
  await jobs.fail(run!.id, run!.token, { error: 'no', retryable: false });
  expect(await jobs.get(id)).toMatchObject({ status: 'failed' });
});

test('a job that is running is rerun whatever its tasks, and ends with the newest of its reruns alone', async () => {
  const { jobs } = storage;
  const { id, name } = await newJob(storage, { status: 'running' });
  await jobs.linkTask(id, (await storage.tasks.create({ title: 'open' })).id);
  const first = (await jobs.rerun(id)).currentRunId!;
  const second = (await jobs.rerun(id)).currentRunId!;
  const held = await jobs.claimDue({ workerId: 'w', jobs: [name], limit: 2 });
  const token = (of: string): number => held.find((run) => run.id === of)!.token;
  await jobs.fail(first, token(first), { error: 'no', retryable: false });
  expect(await jobs.get(id)).toMatchObject({ status: 'running', currentRunId: second });
  await jobs.complete(second, token(second));
  const over = await jobs.get(id);
  expect(over.status).toBe('succeeded');
  expect(over).not.toHaveProperty('currentRunId');
});
