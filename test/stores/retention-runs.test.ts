/** What retention stands on: its own runs, its settings, how tenants are found. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { CONVERSATIONS } from '../../src/adapters/conversations/records.js';
import { findTenants } from '../../src/adapters/retention/tenants.js';
import { TASKS } from '../../src/adapters/tasks/records.js';
import { memory as backends } from '../../src/backends/memory.js';
import type { CollectionHost } from '../../src/collection/host.js';
import { StorageManager } from '../../src/manager.js';
import { memory as pools } from '../../src/pools/memory.js';
import { registry } from '../../src/registry.js';
import { loadSettings, type SettingsInput } from '../../src/settings.js';
import { ManualClock } from '../support/manual-clock.js';
import { databaseOf } from '../support/open-parts.js';

const DAY = 86_400_000;

let manager: StorageManager | undefined;
afterEach(() => manager?.close());

async function open(clock: ManualClock, overrides: SettingsInput): Promise<StorageManager> {
  const settings = await loadSettings({ registry, environment: {}, overrides });
  manager = new StorageManager({ registry, settings, clock });
  await manager.open();
  return manager;
}

const MAIN = { databases: { main: 'memory:' }, lifecycle: { sweepInterval: 0 } };

describe('runs by itself', () => {
  test('go every interval, and health has the last report', async () => {
    const clock = new ManualClock();
    const storage = await open(clock, { ...MAIN, retention: { taskDays: 5, interval: 10 * DAY } });
    const { tasks } = storage.tenant('acme');
    const { id } = await tasks.create({ title: 'x' });
    await tasks.transition(id, 'cancelled');
    const health = async () => (await storage.health()).components['retention:stores'];
    expect(await health()).toMatchObject({ status: 'healthy', critical: false, details: {} });
    // A run comes after nine to eleven days.
    await clock.advance(8 * DAY);
    expect(await tasks.get(id)).toMatchObject({ status: 'cancelled' });
    expect((await health())?.details).toEqual({});
    await clock.advance(4 * DAY);
    await expect(tasks.get(id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    const off = { jobs: { status: 'off' }, agents: { status: 'off' } };
    const last = { startedAt: expect.any(String), ...off, tasks: { total: { tasks: 1, events: 2 } } };
    expect(await health()).toMatchObject({ status: 'healthy', details: { lastRun: last } });
  });

  test('have a name that no database can have', async () => {
    const storage = await open(new ManualClock(), {
      databases: { retention: 'memory:' },
      retention: { interval: DAY },
    });
    expect(Object.keys((await storage.health()).components)).toEqual(
      expect.arrayContaining(['retention', 'retention:stores']),
    );
  });

  test('that fail are told, and tried again', async () => {
    const clock = new ManualClock();
    const databases = { main: 'memory:', other: 'memory:' };
    const retention = { taskDays: 30, jobDays: 30, interval: DAY };
    const storage = await open(clock, { ...MAIN, databases, stores: { default: 'main', jobs: 'other' }, retention });
    await databaseOf(storage, 'other').pool.close(clock.monotonic());
    await clock.advance(1.2 * DAY);
    expect((await storage.health()).components['retention:stores']).toMatchObject({
      status: 'degraded',
      message: 'The last run of the retention failed of jobs',
      details: { lastRun: { tasks: { status: 'done' }, jobs: { status: 'failed', error: 'CLOSED' } } },
    });
    const report = await storage.retention.run();
    expect(report.tasks.status).toBe('done');
    expect(report.jobs).toMatchObject({ status: 'failed', error: { code: 'CLOSED' }, tenants: [] });
    await databaseOf(storage, 'other').pool.open({ clock, signal: new AbortController().signal });
    await clock.advance(1.2 * DAY);
    expect((await storage.health()).components['retention:stores']).toMatchObject({ status: 'healthy' });
  });

  test('are none without an interval', async () => {
    const clock = new ManualClock();
    const storage = await open(clock, { ...MAIN, retention: { taskDays: 30 } });
    expect((await storage.health()).components).not.toHaveProperty('retention:stores');
    expect(clock.timers).toBe(0);
  });
});

test('a tenant that fails is told, and the others go on', async () => {
  const storage = await open(new ManualClock(), MAIN);
  for (const tenant of ['a', 'b', 'c'])
    for (let i = 0; i < 2; i++) await storage.tenant(tenant).conversations.addMessage(randomUUID(), { content: 'x' });
  // Too large to be changed: what another version of the library might have left.
  const { backend } = databaseOf(storage);
  const broken = (await storage.tenant('b').conversations.listConversations()).items.map(({ id }) => ({
    collection: CONVERSATIONS.schema,
    id,
    kind: 'put' as const,
    value: { title: 'x'.repeat(2 ** 21) },
  }));
  await backend.write({ tenant: 'b' }, broken, { now: new Date('2026-01-01'), deadline: Infinity });
  const policy = { maxConversations: 1 };
  const report = await storage.retention.run({ tenants: { a: policy, b: policy, c: policy } });
  expect(report.conversations).toMatchObject({ status: 'failed', total: { conversations: { archived: 2 } } });
  expect(report.conversations.tenants).toMatchObject([
    { tenant: 'a' },
    { tenant: 'b', error: { code: 'VALIDATION' } },
    { tenant: 'c' },
  ]);
});

describe('every setting', () => {
  test('is read', async () => {
    const loaded = await loadSettings({ registry, environment: {}, overrides: MAIN });
    const read = new Set<string>();
    const retention = new Proxy(loaded.retention, {
      get: (group, key) => (read.add(String(key)), Reflect.get(group, key) as unknown),
    });
    manager = new StorageManager({ registry, settings: { ...loaded, retention }, clock: new ManualClock() });
    await manager.open();
    await manager.retention.run();
    expect([...read].sort()).toEqual(Object.keys(loaded.retention).sort());
  });

  test.each([
    [{ messageRetentionDays: 1 }, { messages: { hardDeleted: 1, softDeleted: 0 } }],
    [{ softDeleteAfterDays: 1 }, { messages: { hardDeleted: 0, softDeleted: 1 } }],
    [{ softDeleteGraceDays: 1 }, { messages: { hardDeleted: 1, softDeleted: 0 } }],
    [{ conversationArchiveDays: 1 }, { conversations: { archived: 1, deleted: 0 } }],
    [{ archivedConversationRetentionDays: 1 }, { conversations: { archived: 0, deleted: 1 } }],
    [{ maxConversations: 1 }, { conversations: { archived: 1, deleted: 0 } }],
  ])('of conversations works: %j', async (policy, total) => {
    const clock = new ManualClock();
    const storage = await open(clock, { ...MAIN, retention: policy });
    const { conversations } = storage.tenant('acme');
    const [gone, archived, kept] = [randomUUID(), randomUUID(), randomUUID()];
    const softly = 'softDeleteGraceDays' in policy;
    const { id } = await conversations.addMessage(gone, { content: 'x' });
    if (softly) await conversations.deleteMessage(gone, id);
    await clock.advance(2 * DAY);
    if ('archivedConversationRetentionDays' in policy) {
      await conversations.addMessage(archived, { content: 'x' });
      await conversations.archiveConversation(archived);
      await clock.advance(2 * DAY);
    }
    await conversations.addMessage(kept, { content: 'x' });
    expect((await storage.retention.run()).conversations).toMatchObject({ status: 'done', total });
  });

  test.each([
    [{ keepRuns: 2 }, { jobs: 0, runs: 3 }],
    [{ jobDays: 1 }, { jobs: 0, runs: 4 }],
  ])('of jobs works: %j', async (policy, total) => {
    const clock = new ManualClock();
    const storage = await open(clock, { ...MAIN, retention: policy });
    const { jobs } = storage.tenant('acme');
    const job = await jobs.create({ name: 'nightly', metadata: { personas: ['ann'] } });
    for (let i = 0; i < 4; i++) await jobs.createRun(job.id, { status: 'succeeded', finishedAt: '2020-01-01' });
    await jobs.createRun(job.id, { status: 'succeeded' });
    expect((await storage.retention.run()).jobs.total).toEqual(total);
  });
});

describe('arguments', () => {
  test.each<[unknown, string]>([
    [null, 'options'],
    [{ dryRun: 'yes' }, 'options.dryRun'],
    [{ signal: 5 }, 'options.signal'],
    [{ timeout: 5 }, 'options.timeout'],
    [{ tenants: [] }, 'options.tenants'],
    [{ tenants: { quartermaster: {} } }, 'tenant'],
    [{ tenants: { '': {} } }, 'tenant'],
    [{ tenants: { a: 5 } }, 'options.tenants.a'],
    [{ tenants: { a: { days: 5 } } }, 'options.tenants.a.days'],
    ...['messageRetentionDays', 'softDeleteAfterDays', 'softDeleteGraceDays', 'conversationArchiveDays'].map(badPolicy),
    ...['archivedConversationRetentionDays', 'maxConversations', 'taskDays', 'jobDays', 'keepRuns'].map(badPolicy),
    [{ tenants: { a: { taskDays: 0.5 } } }, 'options.tenants.a.taskDays'],
    [{ tenants: { a: { keepRuns: 'x' } } }, 'options.tenants.a.keepRuns'],
    [{ tenants: { a: { jobDays: 40_000 } } }, 'options.tenants.a.jobDays'],
  ])('%j is refused before any I/O', async (options, key) => {
    const storage = await open(new ManualClock(), MAIN);
    await databaseOf(storage).pool.close(0);
    const run = storage.retention.run(options as never);
    await expect(run).rejects.toMatchObject({ code: 'VALIDATION', message: expect.stringContaining(key) });
  });

  test('the settings are refused by the name of their key', async () => {
    const storage = await open(new ManualClock(), { ...MAIN, retention: { jobDays: 40_000 } });
    await expect(storage.retention.run()).rejects.toMatchObject({
      code: 'VALIDATION',
      message: expect.stringContaining('retention.jobDays'),
    });
  });

  test('a signal that has aborted ends the run before it begins', async () => {
    const storage = await open(new ManualClock(), MAIN);
    const run = storage.retention.run({ signal: AbortSignal.abort() });
    await expect(run).rejects.toMatchObject({ code: 'ABORTED' });
  });
});

function badPolicy(key: string): [unknown, string] {
  return [{ tenants: { a: { [key]: -1 } } }, `options.tenants.a.${key}`];
}

describe('below', () => {
  async function makeHost(clock: ManualClock): Promise<CollectionHost> {
    const pool = pools.create('memory:', { seed: null }, { clock, name: 'main' });
    await pool.open();
    const begin: CollectionHost['begin'] = () => ({
      context: { now: clock.now(), deadline: clock.monotonic() + 1_000 },
      end: () => undefined,
    });
    return { backend: backends.create(pool, 'records:main'), tenant: 'none', clock, begin, ensure: () => undefined };
  }

  test('every tenant is found, also of records with the same id', async () => {
    const host = await makeHost(new ManualClock());
    const insert = (tenant: string, id: string): Promise<unknown> =>
      host.backend.write({ tenant }, [{ collection: TASKS.schema, id, kind: 'insert', value: {} }], {
        now: new Date('2026-01-01'),
        deadline: Infinity,
      });
    for (let i = 0; i < 6_000; i++) await insert(`many${i}`, 'm');
    for (let i = 0; i < 100; i++) await insert('big', `a${i}`);
    for (let i = 0; i < 5_000; i++) await insert('big', `z${i}`);
    await insert('last', 'zz');
    const found = await findTenants(host, TASKS.schema, new AbortController().signal);
    expect(found.size).toBe(6_002);
  });
});
