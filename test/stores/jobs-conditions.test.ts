/** What a caller may rely on when it says a version, and what is looked at before something is decided. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openStorage, type JobSchedule, type StorageManager } from '../../src/index.js';
import { newJob } from './jobs-target.js';

let storage: StorageManager;
beforeAll(async () => {
  storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
});
afterAll(() => storage.close());

test('a version that is not the one there is a conflict, also where nothing changes, and writes nothing', async () => {
  const { jobs, tasks } = storage;
  const { id } = await newJob(storage);
  const [linked, other] = [await tasks.create({ title: 'a' }), await tasks.create({ title: 'b' })];
  const assigneeId = randomUUID();
  const link = await jobs.linkTask(id, linked.id, {}, { ifVersion: 1 });
  await jobs.assign(id, assigneeId, {}, { ifVersion: 2 });
  const stale = { ifVersion: 1 };
  const calls: readonly (() => Promise<unknown>)[] = [
    () => jobs.linkTask(id, linked.id, {}, stale),
    () => jobs.linkTask(id, other.id, {}, stale),
    () => jobs.unlinkTask(id, { linkId: link.id }, stale),
    () => jobs.assign(id, assigneeId, {}, stale),
    () => jobs.assign(id, randomUUID(), {}, stale),
    () => jobs.recordEvent(id, { eventType: 'noted' }, stale),
  ];
  for (const call of calls) await expect(call()).rejects.toMatchObject({ code: 'CONFLICT' });
  expect(await jobs.get(id)).toMatchObject({ version: 3 });
  await jobs.recordEvent(id, { eventType: 'noted' }, { ifVersion: 3 });
  await jobs.unlinkTask(id, { linkId: link.id }, { ifVersion: 4 });
  const schedule = { expression: '@daily' };
  await expect(jobs.upsertSchedule(id, schedule, stale)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await jobs.upsertSchedule(id, schedule);
  await jobs.upsertSchedule(id, schedule, stale);
  await expect(jobs.upsertSchedule(id, schedule, stale)).rejects.toMatchObject({ code: 'CONFLICT' });
});

test('a version is refused where none is looked at', async () => {
  const { jobs } = storage;
  const { id } = await newJob(storage);
  const options: object = { ifVersion: 1 };
  await expect(jobs.enqueueRun(id, {}, options)).rejects.toMatchObject({ details: { key: 'options.ifVersion' } });
  await expect(jobs.enqueueRuns(id, [{}], options)).rejects.toMatchObject({ details: { key: 'options.ifVersion' } });
  expect((await jobs.listRuns(id)).items).toEqual([]);
});

test('who cancels a run is told', async () => {
  const { jobs } = storage;
  const { id } = await jobs.enqueueRun((await newJob(storage)).id);
  const { events } = await jobs.cancelRun(id, { triggeredById: 'ann' });
  expect(events).toMatchObject([{ type: 'job.run_cancelled', triggeredById: 'ann' }]);
});

test('whatever of its metadata names somebody is the roster of a job', async () => {
  const { jobs } = storage;
  const named: readonly object[] = [
    { personas: ['ann'] },
    { roster: [{ name: 'ann' }] },
    { roster: { name: 'ann' } },
    { personaRoster: [{ persona: 'ann' }] },
    { personas: [{ id: 'ann' }] },
    { persona: 'ann' },
    { persona: { id: 'ann' } },
    { personaName: 'ann' },
    { personas: [], roster: [' ', null], personaRoster: null, persona: '', personaName: 'ann' },
    { personas: [{ name: 7, persona: ' ' }, 7], persona: 'ann' },
  ];
  for (const metadata of named)
    expect(await jobs.rerun((await newJob(storage, { metadata })).id)).toMatchObject({ status: 'running' });
  for (const metadata of [{}, { persona: '' }, { personas: [' ', null, 7, {}] }, { roster: {} }, { name: 'ann' }]) {
    const { id } = await newJob(storage, { metadata });
    await jobs.upsertSchedule(id, { expression: '@yearly' });
    const refused = { code: 'INVALID_TRANSITION', details: { guard: 'roster' } };
    await expect(jobs.rerun(id)).rejects.toMatchObject(refused);
    for (const to of ['scheduled', 'running'] as const)
      await expect(jobs.transition(id, to)).rejects.toMatchObject(refused);
  }
});

test('a run that is only noted does not stand in the way of a schedule', async () => {
  const { jobs } = storage;
  const { id, name } = await newJob(storage, { status: 'scheduled' });
  await jobs.createRun(id);
  await jobs.createRun(id, { status: 'running' });
  const nextRunAt = new Date(Date.now() - 1_000);
  await jobs.upsertSchedule(id, { expression: '@yearly', nextRunAt, overlap: 'skip' });
  const runs = await jobs.claimDue({ workerId: 'w', jobs: [name], limit: 100 });
  expect(runs.map(({ jobId, trigger }) => [jobId, trigger])).toEqual([[id, 'schedule']]);
});

test('each of the occurrences that were missed has its run where that is said, in turn or side by side', async () => {
  const { jobs } = storage.tenant('missed');
  const first = new Date(Math.floor(Date.now() / 3_600_000 - 3) * 3_600_000);
  const missed = { expression: '0 * * * *', misfire: 'runAll', misfireGraceSeconds: 0, nextRunAt: first } as const;
  for (const [overlap, held] of [
    [undefined, 1],
    ['queue', 1],
    ['allow', 4],
  ] as const) {
    const { id, name } = await newJob(storage.tenant('missed'), { status: 'scheduled' });
    expect(await jobs.upsertSchedule(id, { ...missed, overlap })).toMatchObject({ overlap: overlap ?? 'queue' });
    const now = new Date(first.getTime() + 3 * 3_600_000 + 1_000);
    expect(await storage.jobs.claimDue({ workerId: 'w', jobs: [name], limit: 10, now })).toHaveLength(held);
    expect((await jobs.listRuns(id)).items.map(({ scheduledFor }) => scheduledFor!.getTime())).toEqual(
      [3, 2, 1, 0].map((hours) => first.getTime() + hours * 3_600_000),
    );
  }
});

test('a schedule takes the place of the one before it whole', async () => {
  const { jobs } = storage;
  const { id } = await newJob(storage);
  const given = {
    payload: 1,
    priority: 2,
    metadata: { a: 1 },
    startAt: '2026-01-01',
    endAt: '2100-01-01',
    paused: true,
  };
  const more = { timezone: 'Europe/Berlin', misfire: 'skip', misfireGraceSeconds: 5, overlap: 'allow' } as const;
  const first = await jobs.upsertSchedule(id, { expression: '@daily', ...given, ...more });
  const second = await jobs.upsertSchedule(id, { expression: '@hourly' });
  expect(second).toEqual({
    id,
    tenantId: first.tenantId,
    version: 2,
    createdAt: first.createdAt,
    updatedAt: expect.any(Date),
    scheduleType: 'cron',
    expression: '@hourly',
    timezone: 'UTC',
    nextRunAt: expect.any(Date),
    anchorAt: expect.any(Date),
    paused: false,
    misfire: 'runOnce',
    misfireGraceSeconds: 60,
    overlap: 'skip',
    priority: 0,
    metadata: {},
  });
});

test('what is told of a job that is made, and of its tasks, has these members', async () => {
  const tenant = storage.tenant('told');
  const { jobs, tasks } = tenant;
  const { id, events } = await newJob(tenant, { status: 'scheduled' });
  expect(events.map(({ type, payload }) => [type, payload])).toEqual([
    ['job.created', { jobId: id, tenantId: 'told', status: 'scheduled' }],
  ]);
  const { id: taskId } = await tasks.create({ title: 'a' });
  for (let i = 0; i < 2; i++) await jobs.linkTask(id, taskId, { relationshipType: 'blocks' });
  await jobs.unlinkTask(id, { taskId });
  const payload = { taskId, relationshipType: 'blocks' };
  expect((await jobs.listEvents(id)).slice(1).map((event) => [event.type, event.payload])).toEqual([
    ['job.task_linked', payload],
    ['job.task_unlinked', payload],
  ]);
});

test('the runs that are previewed are after now, also while an occurrence is due', async () => {
  const { jobs } = storage;
  const { id } = await newJob(storage);
  const first = new Date(Math.floor(Date.now() / 3_600_000 + 48) * 3_600_000);
  await jobs.upsertSchedule(id, { expression: '0 * * * *', nextRunAt: first });
  const hours = [0, 1, 2].map((hour) => new Date(first.getTime() + hour * 3_600_000));
  expect(await jobs.previewNextRuns(id, { count: 3 })).toEqual(hours);
  const schedule = await jobs.upsertSchedule(id, { expression: '@yearly', nextRunAt: new Date(Date.now() - 1) });
  const runs = await jobs.previewNextRuns(id, { count: 2 });
  const year = schedule.nextRunAt!.getUTCFullYear();
  expect(runs).toEqual([new Date(Date.UTC(year + 1, 0)), new Date(Date.UTC(year + 2, 0))]);
});

test('an interval without a start counts from now where the schedule before it had one', async () => {
  const { jobs } = storage;
  const hourly = { scheduleType: 'interval' as const, expression: '1h' };
  const withinAnHour = async (id: string): Promise<JobSchedule> => {
    const schedule = await jobs.getSchedule(id);
    expect(schedule).not.toHaveProperty('startAt');
    expect(schedule.nextRunAt!.getTime() - Date.now()).toBeLessThanOrEqual(3_600_000);
    return schedule;
  };
  const { id } = await newJob(storage);
  for (const earlier of [{ startAt: '2100-01-01' }, { anchorAt: '2100-01-01' }]) {
    await jobs.upsertSchedule(id, { ...hourly, ...earlier });
    await jobs.upsertSchedule(id, hourly);
    const { anchorAt } = await withinAnHour(id);
    // What it counts from stays, also with another interval.
    expect(await jobs.upsertSchedule(id, { ...hourly, expression: '2h' })).toMatchObject({ anchorAt });
  }
  const declared = { name: 'begun early' };
  await jobs.ensure(declared, { schedule: { ...hourly, startAt: '2100-01-01' } });
  await withinAnHour((await jobs.ensure(declared, { schedule: hourly })).id);
});

test('the guard of tasks looks at every task, however many are linked', async () => {
  const { jobs, tasks } = storage;
  const { id } = await newJob(storage);
  const open: string[] = [];
  for (let i = 0; i < 1_003; i++) {
    const task = await tasks.create({ title: `${i}`, status: i < 1_001 ? 'done' : 'ready' });
    await jobs.linkTask(id, task.id);
    if (i >= 1_001) open.push(task.id);
  }
  expect(await jobs.dependenciesComplete(id)).toBe(false);
  await expect(jobs.rerun(id)).rejects.toMatchObject({ code: 'DEPENDENCY_INCOMPLETE', details: { ids: open } });
  for (const task of open) await tasks.transition(task, 'cancelled');
  expect(await jobs.dependenciesComplete(id)).toBe(true);
});

test("a job names a conversation of the tenant's", async () => {
  const [a, b] = [storage.tenant('a'), storage.tenant('b')];
  const conversationId = randomUUID();
  await a.conversations.ensureConversation(conversationId);
  expect(await newJob(a, { conversationId })).toMatchObject({ conversationId });
  const refused = (key: string): object => ({ code: 'VALIDATION', details: { key } });
  await expect(newJob(b, { conversationId })).rejects.toMatchObject(refused('job.conversationId'));
  const { id } = await newJob(b);
  await expect(b.jobs.update(id, { conversationId })).rejects.toMatchObject(refused('changes.conversationId'));
  expect((await b.jobs.get(id)).version).toBe(1);
});
