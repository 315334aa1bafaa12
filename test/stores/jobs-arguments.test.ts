/** Bad input of every operation: refused by name before anything is read or written. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openStorage, type JobStore, type StorageManager } from '../../src/index.js';

let storage: StorageManager;
beforeAll(async () => {
  storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
});
afterAll(() => storage.close());

const ID = randomUUID();
const LONG = 'x'.repeat(70_000);
const MAKE = { name: 'a' };
const SET = { expression: '@daily' };
const CLAIM = { workerId: 'w' };

/** The operation, its arguments, and the key that the error names. */
type Case = readonly [operation: keyof JobStore, args: readonly unknown[], key: string];

const ids: readonly Case[] = (
  [
    ['get', 'id', []],
    ['update', 'id', [{ name: 'b' }]],
    ['transition', 'id', ['running']],
    ['delete', 'id', []],
    ['upsertSchedule', 'jobId', [SET]],
    ['getSchedule', 'jobId', []],
    ['pauseSchedule', 'jobId', []],
    ['resumeSchedule', 'jobId', []],
    ['previewNextRuns', 'jobId', []],
    ['linkTask', 'jobId', [ID]],
    ['unlinkTask', 'jobId', [{ taskId: ID }]],
    ['listLinkedTasks', 'jobId', []],
    ['dependenciesComplete', 'jobId', []],
    ['assign', 'jobId', [ID]],
    ['recordEvent', 'jobId', [{ eventType: 'noted' }]],
    ['setAssignmentStatus', 'assignmentId', ['accepted']],
    ['listAssignments', 'jobId', []],
    ['createRun', 'jobId', []],
    ['enqueueRun', 'jobId', []],
    ['enqueueRuns', 'jobId', [[{}]]],
    ['updateRun', 'runId', [{ status: 'failed' }]],
    ['listRuns', 'jobId', []],
    ['getRun', 'runId', []],
    ['cancelRun', 'runId', []],
    ['rerun', 'jobId', []],
    ['heartbeat', 'runId', [1]],
    ['saveCheckpoint', 'runId', [1, { stepIndex: 0, stepName: 's', state: 0 }]],
    ['complete', 'runId', [1]],
    ['fail', 'runId', [1, { error: 'e' }]],
    ['release', 'runId', [1]],
  ] as const
).flatMap(([operation, key, rest]) =>
  [undefined, null, 1, '', 'no-uuid', `${ID}0`].map((id): Case => [operation, [id, ...rest], key]),
);

const tokens = (['heartbeat', 'saveCheckpoint', 'complete', 'fail', 'release'] as const).flatMap((operation) =>
  [undefined, 0, 1.5, '1'].map((token): Case => {
    const rest =
      operation === 'saveCheckpoint'
        ? [{ stepIndex: 0, stepName: 's', state: 0 }]
        : operation === 'fail'
          ? [{ error: 'e' }]
          : [];
    return [operation, [ID, token, ...rest], 'token'];
  }),
);

/** What stands before the options, and what they must be. */
const options = (
  [
    ['create', [MAKE]],
    ['ensure', [MAKE]],
    ['get', [ID]],
    ['getByName', ['a']],
    ['list', []],
    ['update', [ID, { name: 'b' }]],
    ['transition', [ID, 'running']],
    ['delete', [ID]],
    ['upsertSchedule', [ID, SET]],
    ['getSchedule', [ID]],
    ['pauseSchedule', [ID]],
    ['resumeSchedule', [ID]],
    ['previewNextRuns', [ID]],
    ['linkTask', [ID, ID, {}]],
    ['unlinkTask', [ID, { taskId: ID }]],
    ['listLinkedTasks', [ID]],
    ['dependenciesComplete', [ID]],
    ['assign', [ID, ID, {}]],
    ['recordEvent', [ID, { eventType: 'noted' }]],
    ['setAssignmentStatus', [ID, 'accepted']],
    ['listAssignments', [ID]],
    ['createRun', [ID, {}]],
    ['enqueueRun', [ID, {}]],
    ['enqueueRuns', [ID, [{}]]],
    ['updateRun', [ID, { status: 'failed' }]],
    ['listRuns', [ID]],
    ['listDeadRuns', []],
    ['getRun', [ID]],
    ['cancelRun', [ID]],
    ['rerun', [ID]],
    ['heartbeat', [ID, 1]],
    ['saveCheckpoint', [ID, 1, { stepIndex: 0, stepName: 's', state: 0 }]],
    ['complete', [ID, 1, {}]],
    ['fail', [ID, 1, { error: 'e' }]],
    ['release', [ID, 1]],
    ['stats', []],
    ['retain', [{}]],
  ] as const
).flatMap(([operation, args]): Case[] => [
  [operation, [...args, 5], 'options'],
  [operation, [...args, { misspelt: true }], 'options.misspelt'],
]);

const members: readonly Case[] = [
  ['create', [undefined], 'job'],
  ['create', [{ name: '' }], 'job.name'],
  ['create', [{ name: LONG }], 'job.name'],
  ['create', [{ ...MAKE, nam: 1 }], 'job.nam'],
  ['create', [{ ...MAKE, description: LONG }], 'job.description'],
  ['create', [{ ...MAKE, status: 'done' }], 'job.status'],
  ['create', [{ ...MAKE, ownerId: 'ann' }], 'job.ownerId'],
  ['create', [{ ...MAKE, conversationId: 7 }], 'job.conversationId'],
  ['create', [{ ...MAKE, metadata: [] }], 'job.metadata'],
  ['create', [{ ...MAKE, timeoutSeconds: 0 }], 'job.timeoutSeconds'],
  ['create', [{ ...MAKE, maxConcurrent: 1.5 }], 'job.maxConcurrent'],
  ['create', [{ ...MAKE, retry: { maxAttempts: 0 } }], 'job.retry.maxAttempts'],
  ['create', [{ ...MAKE, retry: { backoffSeconds: -1 } }], 'job.retry.backoffSeconds'],
  ['create', [{ ...MAKE, retry: { jitterSeconds: NaN } }], 'job.retry.jitterSeconds'],
  ['create', [{ ...MAKE, retry: { multiplier: 0 } }], 'job.retry.multiplier'],
  ['create', [MAKE, { idempotencyKey: 'x'.repeat(256) }], 'options.idempotencyKey'],
  ['ensure', [undefined], 'job'],
  ['ensure', [{ name: '' }], 'job.name'],
  ['ensure', [{ ...MAKE, nam: 1 }], 'job.nam'],
  ['ensure', [{ ...MAKE, status: 'done' }], 'job.status'],
  ['ensure', [MAKE, { schedule: 7 }], 'options.schedule'],
  ['ensure', [MAKE, { schedule: { expression: 'x' } }], 'schedule.expression'],
  ['getByName', [''], 'name'],
  ['list', [{ limit: 0 }], 'limit'],
  ['list', [{ status: 'done' }], 'options.status'],
  ['list', [{ ownerId: 'ann' }], 'options.ownerId'],
  ['update', [ID, {}], 'changes'],
  ['update', [ID, { status: 'running' }], 'changes.status'],
  ['update', [ID, { name: null }], 'changes.name'],
  ['update', [ID, { other: 1 }], 'changes.other'],
  ['update', [ID, { retry: { maxAttempts: 0 } }], 'changes.retry.maxAttempts'],
  ['update', [ID, { name: 'b' }, { ifVersion: 0 }], 'ifVersion'],
  ['transition', [ID, 'done'], 'status'],
  ['delete', [ID, { force: 1 }], 'options.force'],
  ['upsertSchedule', [ID, { expression: '' }], 'schedule.expression'],
  ['upsertSchedule', [ID, { expression: '0 0 0 1 1 * 2030' }], 'schedule.expression'],
  ['upsertSchedule', [ID, { scheduleType: 'interval', expression: '3000000d' }], 'schedule.expression'],
  ['upsertSchedule', [ID, { ...SET, scheduleType: 'daily' }], 'schedule.scheduleType'],
  ['upsertSchedule', [ID, { ...SET, timezone: 'Mars/Phobos' }], 'schedule.timezone'],
  ['upsertSchedule', [ID, { ...SET, startAt: 'soon' }], 'schedule.startAt'],
  ['upsertSchedule', [ID, { ...SET, startAt: '2026-02-01', endAt: '2026-01-01' }], 'schedule.endAt'],
  ['upsertSchedule', [ID, { ...SET, nextRunAt: 'soon' }], 'schedule.nextRunAt'],
  ['upsertSchedule', [ID, { ...SET, startAt: '2030-02-01', nextRunAt: '2030-01-01' }], 'schedule.nextRunAt'],
  ['upsertSchedule', [ID, { ...SET, endAt: '2030-02-01', nextRunAt: '2030-02-01' }], 'schedule.nextRunAt'],
  ['upsertSchedule', [ID, { ...SET, anchorAt: 1 }], 'schedule.anchorAt'],
  ['upsertSchedule', [ID, { ...SET, paused: 'no' }], 'schedule.paused'],
  ['upsertSchedule', [ID, { ...SET, misfire: 'never' }], 'schedule.misfire'],
  ['upsertSchedule', [ID, { ...SET, misfireGraceSeconds: -1 }], 'schedule.misfireGraceSeconds'],
  ['upsertSchedule', [ID, { ...SET, overlap: 'maybe' }], 'schedule.overlap'],
  ['upsertSchedule', [ID, { ...SET, overlap: 'skip', misfire: 'runAll' }], 'schedule.overlap'],
  ['upsertSchedule', [ID, { ...SET, overlap: 'skip', misfire: 'runAll' }], 'schedule.misfire'],
  ['ensure', [MAKE, { schedule: { ...SET, overlap: 'skip', misfire: 'runAll' } }], 'options.schedule.overlap'],
  ['upsertSchedule', [ID, { ...SET, priority: 0.5 }], 'schedule.priority'],
  ['upsertSchedule', [ID, { ...SET, metadata: 1 }], 'schedule.metadata'],
  ['previewNextRuns', [ID, { count: 0 }], 'options.count'],
  ['linkTask', [ID, 'task'], 'taskId'],
  ['linkTask', [ID, ID, { relationshipType: LONG }], 'link.relationshipType'],
  ['unlinkTask', [ID, {}], 'which'],
  ['unlinkTask', [ID, { linkId: 'x' }], 'which.linkId'],
  ['recordEvent', [ID, {}], 'event.eventType'],
  ['recordEvent', [ID, { eventType: 'Noted!' }], 'event.eventType'],
  ['recordEvent', [ID, { eventType: 'deleted' }], 'event.eventType'],
  ['recordEvent', [ID, { eventType: 'run_started' }], 'event.eventType'],
  ['recordEvent', [ID, { eventType: 'noted', payload: 5 }], 'event.payload'],
  ['assign', [ID, 'ann'], 'assigneeId'],
  ['assign', [ID, ID, { role: LONG }], 'assignment.role'],
  ['setAssignmentStatus', [ID, 'maybe'], 'status'],
  ['createRun', [ID, { status: 'draft' }], 'run.status'],
  ['createRun', [ID, { startedAt: 'now' }], 'run.startedAt'],
  ['createRun', [ID, { other: 1 }], 'run.other'],
  ['enqueueRun', [ID, { runAt: 'later' }], 'run.runAt'],
  ['enqueueRun', [ID, { priority: 'high' }], 'run.priority'],
  ['enqueueRun', [ID, { payload: () => 1 }], 'run.payload'],
  ['enqueueRun', [ID, { idempotencyKey: 5 }], 'run.idempotencyKey'],
  ['enqueueRuns', [ID, {}], 'runs'],
  ['enqueueRuns', [ID, Array.from({ length: 401 }, () => ({}))], 'runs'],
  ['enqueueRuns', [ID, [{ idempotencyKey: 'k' }]], 'runs[0].idempotencyKey'],
  ['updateRun', [ID, {}], 'changes'],
  ['updateRun', [ID, { token: 1 }], 'changes.token'],
  ['listRuns', [ID, { limit: 101 }], 'limit'],
  ['heartbeat', [ID, 1, { leaseSeconds: 0 }], 'options.leaseSeconds'],
  ['saveCheckpoint', [ID, 1, { stepIndex: -1, stepName: 's', state: 0 }], 'checkpoint.stepIndex'],
  ['saveCheckpoint', [ID, 1, { stepIndex: 0, stepName: '', state: 0 }], 'checkpoint.stepName'],
  ['saveCheckpoint', [ID, 1, { stepIndex: 0, stepName: 's' }], 'checkpoint.state'],
  ['complete', [ID, 1, { result: 1n }], 'completion.result'],
  ['fail', [ID, 1, {}], 'failure.error'],
  ['fail', [ID, 1, { error: 'e', retryable: 1 }], 'failure.retryable'],
  ['claimDue', [undefined], 'options'],
  ['claimDue', [{}], 'options.workerId'],
  ['claimDue', [{ ...CLAIM, limit: 0 }], 'options.limit'],
  ['claimDue', [{ ...CLAIM, leaseSeconds: 0 }], 'options.leaseSeconds'],
  ['claimDue', [{ ...CLAIM, now: 'now' }], 'options.now'],
  ['claimDue', [{ ...CLAIM, other: 1 }], 'options.other'],
  ['claimDue', [{ ...CLAIM, jobs: [] }], 'options.jobs'],
  ['claimDue', [{ ...CLAIM, jobs: 'a' }], 'options.jobs'],
  ['claimDue', [{ ...CLAIM, jobs: ['a', ' '] }], 'options.jobs[1]'],
  ['work', [5], 'handler'],
  ['work', [{}], 'handler'],
  ['work', [{ a: 5 }], 'handler.a'],
  ['work', [() => 1, { concurrency: 0 }], 'options.concurrency'],
  ['work', [() => 1, { leaseSeconds: 0 }], 'options.leaseSeconds'],
  ['work', [() => 1, { poll: 0 }], 'options.poll'],
  ['work', [() => 1, { other: 0 }], 'options.other'],
  ['retain', [{ jobDays: -1 }], 'policy.jobDays'],
  ['retain', [{ keepRuns: 0.5 }], 'policy.keepRuns'],
  ['retain', [{ days: 5 }], 'policy.days'],
];

test.each([...ids, ...tokens, ...options, ...members])('%s of %j names %s', async (operation, args, key) => {
  const call = Reflect.get(storage.jobs, operation) as (...args: unknown[]) => unknown;
  const outcome = (async () => call.apply(storage.jobs, [...args]))();
  await expect(outcome).rejects.toMatchObject({ code: 'VALIDATION', message: expect.stringContaining(key) });
});

test('nothing was written, and a tenant does not work for the others', async () => {
  expect((await storage.jobs.list()).items).toEqual([]);
  const { jobs } = storage.tenant('a');
  await expect(jobs.claimDue(CLAIM)).rejects.toMatchObject({ code: 'VALIDATION' });
  expect(() => jobs.work(() => 1)).toThrow(expect.objectContaining({ code: 'VALIDATION' }));
});

test('events are listed with the usual bounds where these are null or blank', async () => {
  const { id } = await storage.jobs.create({ name: 'told' });
  for (const none of [undefined, null, ' '] as never[])
    expect(await storage.jobs.listEvents(id, { after: none, limit: none })).toHaveLength(1);
});

test('the options of a list of events are read once', async () => {
  const { id } = await storage.jobs.create({ name: 'read once' });
  await storage.jobs.recordEvent(id, { eventType: 'noted' });
  let reads = 0;
  const options = {
    get after() {
      return reads++ * 1_000;
    },
  };
  expect(await storage.jobs.listEvents(id, options)).toHaveLength(2);
  expect(reads).toBe(1);
});
