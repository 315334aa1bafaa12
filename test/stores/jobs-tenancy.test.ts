/** Two tenants never see, count, change or hold each other's: what one does is what it would do alone. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { openStorage, type JobStore, type StorageManager } from '../../src/index.js';

let storage: StorageManager;
beforeAll(async () => {
  storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
});
afterAll(() => storage.close());

const OPERATIONS = [
  'create',
  'ensure',
  'getByName',
  'list',
  'update',
  'cancel',
  'schedule',
  'pause',
  'preview',
  'assign',
  'enqueue',
  'createRun',
  'listRuns',
  'cancelRun',
  'rerun',
  'complete',
  'fail',
  'dead',
  'delete',
  'stats',
  'retain',
] as const;

interface Step {
  readonly tenant: 0 | 1;
  readonly operation: (typeof OPERATIONS)[number];
  readonly n: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  tenant: fc.constantFrom(0, 1),
  operation: fc.constantFrom(...OPERATIONS),
  n: fc.integer({ min: 0, max: 2 }),
});

/** Each tenant begins with jobs and runs: most of what is done needs them. */
const FIRST: readonly Step[] = [0, 1, 2].flatMap((n) =>
  (['create', 'schedule', 'enqueue'] as const).flatMap((operation) =>
    ([0, 1] as const).map((tenant) => ({ tenant, operation, n })),
  ),
);

/** What a step tells, without what is made anew by each run: ids and times. */
async function run({ jobs }: { jobs: JobStore }, { operation, n }: Step): Promise<unknown> {
  const name = `job ${n}`;
  const id = async (): Promise<string> => (await jobs.getByName(name)).id;
  const lastRun = async (): Promise<{ id: string; token: number }> => {
    const [last] = (await jobs.listRuns(await id())).items;
    return last ?? { id: await id(), token: 0 };
  };
  switch (operation) {
    case 'create':
      return jobs.create({ name, metadata: { roster: ['ann'] }, retry: { maxAttempts: 1 } });
    case 'ensure':
      return jobs.ensure({ name, description: 'ensured' }, { schedule: { expression: '@yearly' } });
    case 'getByName':
      return jobs.get(await id(), { withRuns: true, withSchedule: true, withEvents: true });
    case 'list':
      return jobs.list();
    case 'update':
      return jobs.update(await id(), { description: `${n}` });
    case 'cancel':
      return jobs.transition(await id(), 'cancelled');
    case 'schedule':
      return jobs.upsertSchedule(await id(), { expression: '@yearly' });
    case 'pause':
      return jobs.pauseSchedule(await id());
    case 'preview':
      return jobs.previewNextRuns(await id());
    case 'assign':
      return jobs.assign(await id(), '00000000-0000-7000-8000-000000000000');
    case 'enqueue':
      return jobs.enqueueRun(await id(), { payload: n, idempotencyKey: `key ${n}` });
    case 'createRun':
      return jobs.createRun(await id());
    case 'listRuns':
      return jobs.listRuns(await id());
    case 'cancelRun':
      return jobs.cancelRun((await lastRun()).id);
    case 'rerun':
      return jobs.rerun(await id());
    case 'complete': {
      const last = await lastRun();
      return jobs.complete(last.id, Math.max(last.token, 1));
    }
    case 'fail': {
      const last = await lastRun();
      return jobs.fail(last.id, Math.max(last.token, 1), { error: 'no' });
    }
    case 'dead': {
      const { items, ...rest } = await jobs.listDeadRuns();
      // By when they ended: two may have ended in one millisecond, or not.
      return { ...rest, items: items.map((item) => masked(item)).sort() };
    }
    case 'delete':
      return jobs.delete(await id());
    case 'stats':
      return { ...(await jobs.stats()), claimLatency: 0, oldestDue: 0 };
    case 'retain':
      return jobs.retain({ keepRuns: 1 });
  }
}

const MADE_ANEW =
  /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+Z|"waitedMs":\d+/g;

function plain(value: unknown, tenant: string): string {
  return masked(value).replaceAll(tenant, 'tenant');
}

function masked(value: unknown): string {
  return JSON.stringify(value).replaceAll(MADE_ANEW, '*');
}

let rounds = 0;
/** What was not refused, of any tenant. */
const succeeded = new Set<string>();

/** Runs are held for the tenant that is about to end one; those of others are given back. */
const ENDS: readonly string[] = ['complete', 'fail'];

async function claimFor(tenantId: string): Promise<void> {
  for (const taken of await storage.jobs.claimDue({ workerId: 'w', limit: 1_000 }))
    if (taken.tenantId !== tenantId) await storage.tenant(taken.tenantId).jobs.release(taken.id, taken.token);
}

/** What each of `tenants` is told. Workers serve every tenant, so they claim for the others' steps too. */
async function answers(steps: readonly Step[], tenants: readonly number[]): Promise<string[][]> {
  const round = ++rounds;
  const told: string[][] = [[], []];
  for (const one of steps) {
    const tenantId = `t${one.tenant}-${round}-x`;
    if (ENDS.includes(one.operation)) await claimFor(tenantId);
    if (!tenants.includes(one.tenant)) continue;
    const answer = await run(storage.tenant(tenantId), one).then(
      (result) => {
        succeeded.add(one.operation);
        return result;
      },
      (error: { code: string }) => ({ error: error.code }),
    );
    told[one.tenant]!.push(plain(answer, tenantId));
  }
  // Workers would claim what is left in every later round too.
  for (const tenant of tenants) {
    const { jobs } = storage.tenant(`t${tenant}-${round}-x`);
    for (const { id } of (await jobs.list()).items) await jobs.delete(id, { force: true });
  }
  return told;
}

test('each is told what it would be told alone', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 40 }), async (taken) => {
      const steps = [...FIRST, ...taken];
      const together = await answers(steps, [0, 1]);
      for (const tenant of [0, 1]) {
        const alone = await answers(steps, [tenant]);
        expect(together[tenant]).toEqual(alone[tenant]);
      }
    }),
    { numRuns: 20 },
  );
  expect([...succeeded].sort()).toEqual([...OPERATIONS].sort());
});

test("another tenant's ids are answered as missing ones", async () => {
  const [a, b] = [storage.tenant('ids-a').jobs, storage.tenant('ids-b').jobs];
  const job = await a.create({ name: 'mine' });
  const { id: runId } = await a.enqueueRun(job.id);
  await a.upsertSchedule(job.id, { expression: '@daily' });
  const assignment = await a.assign(job.id, job.id);
  const refused = { code: 'NOT_FOUND' };
  const lost = { code: 'LEASE_LOST' };
  const calls: readonly [() => Promise<unknown>, object][] = [
    [() => b.get(job.id), refused],
    [() => b.getByName('mine'), refused],
    [() => b.update(job.id, { name: 'theirs' }), refused],
    [() => b.transition(job.id, 'cancelled'), refused],
    [() => b.delete(job.id, { force: true }), refused],
    [() => b.upsertSchedule(job.id, { expression: '@daily' }), refused],
    [() => b.getSchedule(job.id), refused],
    [() => b.pauseSchedule(job.id), refused],
    [() => b.resumeSchedule(job.id), refused],
    [() => b.previewNextRuns(job.id), refused],
    [() => b.linkTask(job.id, job.id), refused],
    [() => b.unlinkTask(job.id, { taskId: job.id }), refused],
    [() => b.listLinkedTasks(job.id), refused],
    [() => b.dependenciesComplete(job.id), refused],
    [() => b.assign(job.id, job.id), refused],
    [() => b.setAssignmentStatus(assignment.id, 'accepted'), refused],
    [() => b.recordEvent(job.id, { eventType: 'noted' }), refused],
    [() => b.createRun(job.id), refused],
    [() => b.enqueueRun(job.id), refused],
    [() => b.enqueueRuns(job.id, [{}]), refused],
    [() => b.updateRun(runId, { metadata: { b: 1 } }), refused],
    [() => b.listRuns(job.id), refused],
    [() => b.getRun(runId), refused],
    [() => b.cancelRun(runId), refused],
    [() => b.rerun(job.id), refused],
    [() => b.heartbeat(runId, 1), lost],
    [() => b.saveCheckpoint(runId, 1, { stepIndex: 0, stepName: 's', state: 0 }), lost],
    [() => b.complete(runId, 1), lost],
    [() => b.fail(runId, 1, { error: 'e' }), lost],
    [() => b.release(runId, 1), lost],
  ];
  for (const [call, error] of calls) await expect(call()).rejects.toMatchObject(error);
  expect(await b.listAssignments(job.id)).toEqual([]);
  expect(await b.listEvents(job.id)).toEqual([]);
  expect(await b.stats()).toMatchObject({ jobs: {}, runs: {} });
  expect(await b.retain({ jobDays: 0.000001, keepRuns: 1 })).toEqual({ jobs: 0, runs: 0, dryRun: false });
  expect((await b.list()).items).toEqual([]);
  expect(await a.get(job.id, { withRuns: true })).toMatchObject({ name: 'mine', runs: [{ id: runId, version: 1 }] });
});
