/** Retention of every tenant's: policies, reports, who may run. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { openStorage, type RetentionReport } from '../../src/index.js';
import { findTenants } from '../../src/adapters/retention/tenants.js';
import { TASKS } from '../../src/adapters/tasks/records.js';
import { Collection } from '../../src/collection/collection.js';
import type { StorageManager } from '../../src/manager.js';
import { Locks } from '../../src/unit-of-work/locks.js';
import { databaseOf } from '../support/open-parts.js';
import { storageTargets } from '../support/storage-targets.js';
import { describeTasks } from '../support/task-storage.js';
import { useStorage } from '../support/use-storage.js';
import { PERSONAS } from './jobs-target.js';

/** No variables of the environment. */
const NOWHERE = { environment: {} };

const NONE = {
  conversations: { messages: { softDeleted: 0, hardDeleted: 0 }, conversations: { archived: 0, deleted: 0 } },
  tasks: { tasks: 0, dependencies: 0, assignments: 0, events: 0, jobLinks: 0 },
  jobs: { jobs: 0, runs: 0 },
};
const STORES = ['conversations', 'tasks', 'jobs'] as const;
const statuses = (report: RetentionReport): string[] => STORES.map((store) => report[store].status);
const totals = (report: RetentionReport): object =>
  Object.fromEntries(STORES.map((store) => [store, report[store].total]));
const countsOf = (report: RetentionReport, tenant: string): unknown[] =>
  STORES.map((store) => report[store].tenants.find((each) => each.tenant === tenant)?.counts);

/** What of each store can be too old: a message, a task that ended, a job that ended and its run. */
async function fill(storage: Pick<StorageManager, 'conversations' | 'tasks' | 'jobs'>): Promise<string> {
  await storage.conversations.addMessage(randomUUID(), { content: 'x' });
  const task = await storage.tasks.create({ title: 'x' });
  await storage.tasks.transition(task.id, 'cancelled');
  const job = await storage.jobs.create({ name: randomUUID(), metadata: PERSONAS });
  await storage.jobs.createRun(job.id, { status: 'succeeded' });
  await storage.jobs.transition(job.id, 'cancelled');
  return task.id;
}

const settings = { retention: { messageRetentionDays: 30, taskDays: 30, jobDays: 30 } };
describeTasks(
  'retention',
  (made, target) => {
    const { tenant, wait } = made;
    test('each tenant has its policy, and a dry run tells what the run then does', async () => {
      const { retention } = made.storage;
      const [plain, long, short] = [`plain-${target}`, `long-${target}`, `short-${target}`];
      const task = { [plain]: '', [long]: '', [short]: '' };
      for (const name of [plain, long, short]) task[name] = await fill(tenant(name));
      wait(20);
      const tenants = { [long]: { jobDays: 365, taskDays: 365 }, [short]: { taskDays: 10, keepRuns: 1 } };
      const first = await retention.run({ tenants });
      expect(statuses(first)).toEqual(['done', 'done', 'done']);
      expect(countsOf(first, plain)).toEqual([undefined, undefined, undefined]);
      expect(countsOf(first, short)).toEqual([undefined, { ...NONE.tasks, tasks: 1, events: 2 }, undefined]);
      wait(20);
      const dry = await retention.run({ tenants, dryRun: true });
      const done = await retention.run({ tenants });
      expect({ ...dry, startedAt: 0, finishedAt: 0 }).toEqual({
        ...done,
        dryRun: true,
        startedAt: 0,
        finishedAt: 0,
      });
      expect(countsOf(done, plain)).toEqual([
        { messages: { softDeleted: 0, hardDeleted: 1 }, conversations: { archived: 0, deleted: 0 } },
        { ...NONE.tasks, tasks: 1, events: 2 },
        { jobs: 1, runs: 1 },
      ]);
      for (const kept of [long, short]) expect(countsOf(done, kept)).toEqual([undefined, undefined, undefined]);
      await expect(tenant(plain).tasks.get(task[plain]!)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      expect(await tenant(long).tasks.get(task[long]!)).toMatchObject({ status: 'cancelled' });
      expect((await tenant(short).jobs.list()).items).toHaveLength(1);
      const again = await retention.run({ tenants });
      expect(totals(again)).toEqual(NONE);
    });

    test('a run waits for no other, and takes over from one that is gone', async () => {
      const { retention } = made.storage;
      const [name, task] = [`leased-${target}`, await fill(tenant(`leased-${target}`))];
      wait(40);
      const own = made.storage.tasks['host'];
      const locks = new Locks({ ...own, tenant: 'quartermaster' });
      await using lock = await locks.acquire('retention', { ttl: 60_000, renew: false });
      const skipped = await retention.run();
      expect(statuses(skipped)).toEqual(['skipped', 'skipped', 'skipped']);
      expect(totals(skipped)).toEqual(NONE);
      expect(countsOf(await retention.run({ dryRun: true }), name)[2]).toEqual({ jobs: 1, runs: 1 });
      expect(await tenant(name).tasks.get(task)).toMatchObject({ status: 'cancelled' });
      wait(61_000 / 86_400_000);
      const done = await retention.run();
      expect(statuses(done)).toEqual(['done', 'done', 'done']);
      expect(countsOf(done, name)[2]).toEqual({ jobs: 1, runs: 1 });
      expect(await lock.release()).toBe(false);
      // It was given back.
      expect(statuses(await retention.run())).toEqual(['done', 'done', 'done']);
    });

    test('what its caller ends goes on with the next run', async () => {
      const { storage } = made;
      const name = `ended-${target}`;
      for (let i = 0; i < 5; i++) await tenant(name).conversations.addMessage(randomUUID(), { content: 'x' });
      const tenants = { [name]: { maxConversations: 1 } };
      const stop = new AbortController();
      const off = storage.on('conversation.archived', () => stop.abort());
      await expect(storage.retention.run({ tenants, signal: stop.signal })).rejects.toMatchObject({ code: 'ABORTED' });
      off();
      const rest = await storage.retention.run({ tenants });
      expect(countsOf(rest, name)[0]).toEqual({
        messages: { softDeleted: 0, hardDeleted: 0 },
        conversations: { archived: 3, deleted: 0 },
      });
    });
  },
  { settings },
);

describeTasks(
  'retention without atomic batches',
  (made) => {
    test('a store that cannot write is told, and the others run', async () => {
      const { retention } = made.storage;
      const tenants = { some: { taskDays: 1, jobDays: 1 } };
      const report = await retention.run({ tenants });
      expect(report.jobs).toMatchObject({ status: 'failed', error: { code: 'UNSUPPORTED' } });
      expect(report.tasks).toEqual({ status: 'done', total: NONE.tasks, tenants: [] });
      expect(statuses(await retention.run({ tenants, dryRun: true }))).toEqual(['off', 'done', 'done']);
    });
  },
  { atomic: false },
);

for (const target of storageTargets('tenants of a retention'))
  describe(`tenants of a retention on ${target.name}`, () => {
    const open = useStorage(target, settings);

    test('are found without what their records hold', async () => {
      const storage = open();
      for (const name of ['first', 'second'])
        await new Collection(TASKS, storage.tenant(name).tasks['host']).save({ title: 'x' } as never);
      const { backend } = databaseOf(storage);
      const find = backend.find.bind(backend);
      let read = 0;
      backend.find = async (scope, request, context) => {
        const found = await find(scope, request, context);
        if (scope === 'all') read += found.length;
        return found;
      };
      const seen = await findTenants(storage.tasks['host'], TASKS.schema, new AbortController().signal);
      backend.find = find;
      expect([...seen].sort()).toEqual(['first', 'second']);
      expect(read).toBe(backend.aggregate === undefined ? 2 : 0);
    });
  });

test('a database that is not there leaves the retention of the others', async () => {
  const far = { url: 'postgresql://u:p@127.0.0.1:1/x', critical: false };
  const databases = { main: 'memory:', far };
  const storage = await openStorage({ databases, stores: { default: 'main', jobs: 'far' }, ...settings }, NOWHERE);
  for (const dryRun of [true, false]) {
    const report = await storage.retention.run({ dryRun });
    expect(statuses(report)).toEqual(['done', 'done', 'failed']);
    expect(report.jobs).toEqual({ ...report.jobs, total: NONE.jobs, tenants: [] });
    expect(report.jobs.error).toMatchObject({ code: 'UNAVAILABLE' });
  }
  await storage.close({ deadline: 0 });
  await expect(storage.retention.run()).rejects.toMatchObject({ code: 'CLOSED' });
});

for (const target of storageTargets('retention by several').filter(
  ({ server, transactions }) => server && transactions,
))
  describe(`retention by several on ${target.name}`, () => {
    let managers: StorageManager[];
    let drop: () => Promise<void>;
    const open = (url: string): Promise<StorageManager> =>
      openStorage({ databases: { main: url }, retention: { maxConversations: 1 } }, { environment: {} });
    let url: string;
    beforeAll(async () => {
      ({ url, drop } = await target.prepare());
      managers = await Promise.all([open(url), open(url)]);
    });
    afterAll(async () => {
      await Promise.all(managers.map((manager) => manager.close()));
      await drop();
    });
    const add = async (tenant: string, count: number): Promise<void> => {
      for (let i = 0; i < count; i++)
        await managers[0]!.tenant(tenant).conversations.addMessage(randomUUID(), { content: 'x' });
    };

    test('one works while the other skips', async () => {
      await add('busy', 20);
      let beside: Promise<RetentionReport> | undefined;
      const off = managers[0]!.on('conversation.archived', () => void (beside ??= managers[1]!.retention.run()));
      const { backend } = databaseOf(managers[0]!);
      const write = backend.write.bind(backend);
      // In the midst of its work, until the other one is through.
      backend.write = async (...given) => {
        await beside;
        return write(...given);
      };
      const report = await managers[0]!.retention.run();
      backend.write = write;
      off();
      expect(report.conversations).toMatchObject({ status: 'done', total: { conversations: { archived: 19 } } });
      expect((await beside!).conversations).toEqual({ status: 'skipped', total: NONE.conversations, tenants: [] });
      expect((await beside!).tasks.status).toBe('off');
    });

    test('of many at once nothing is done twice', async () => {
      await add('raced', 6);
      const reports = await Promise.all(Array.from({ length: 8 }, (_, i) => managers[i % 2]!.retention.run()));
      expect(reports.filter(({ conversations: { status } }) => !['done', 'skipped'].includes(status))).toEqual([]);
      const archived = reports.map(({ conversations }) => conversations.total.conversations.archived);
      expect(archived.reduce((all, each) => all + each)).toBe(5);
    });

    test('a manager that closes gives its lease back', async () => {
      await add('closed', 20);
      const third = await open(url);
      let closed: Promise<void> | undefined;
      third.on('conversation.archived', () => void (closed ??= third.close()));
      await expect(third.retention.run()).rejects.toMatchObject({ code: 'CLOSED' });
      await closed;
      const { conversations } = await managers[0]!.retention.run();
      expect(conversations).toMatchObject({ status: 'done', total: { conversations: { archived: 18 } } });
    });
  });
