/** Two tenants that use the same names and ids in every store: each is told what it would be told alone, and nobody else. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { isStorageError, type Storage, type TenantStorage } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';

const THREADS = [randomUUID(), randomUUID()];
const NOBODYS = Array.from({ length: 10 }, () => randomUUID());

interface Step {
  readonly tenant: 0 | 1;
  readonly operation: string;
  readonly a: number;
  readonly b: number;
}

/** Picks by a number one of the ids that a tenant was given, or one of the other tenant's. */
type Pick = (kind: 'task' | 'job' | 'message' | 'user', place: number) => string;
type Operation = (of: TenantStorage, pick: Pick, a: number, b: number) => Promise<unknown>;

const thread = (n: number): string => THREADS[n % 2]!;

const KV: Readonly<Record<string, Operation>> = {
  'kv.set': ({ kv }, _, a, b) => kv.set(`n${a % 2}`, `k${b % 3}`, { a }, a % 4 === 0 ? { ttlSeconds: 3_600 } : {}),
  'kv.increment': ({ kv }, _, a, b) => kv.increment(`n${a % 2}`, `c${b % 2}`, { delta: b }),
  'kv.setIfAbsent': ({ kv }, _, a, b) => kv.setIfAbsent(`n${a % 2}`, `k${b % 3}`, b),
  'kv.getAndSet': ({ kv }, _, a, b) => kv.getAndSet(`n${a % 2}`, `k${b % 3}`, a),
  'kv.compareAndSet': ({ kv }, _, a, b) => kv.compareAndSet(`n${a % 2}`, `k${b % 3}`, a, { ifValue: b }),
  'kv.get': async ({ kv }, _, a, b) => [await kv.get(`n${a % 2}`, `k${b % 3}`), await kv.has(`n${a % 2}`, `c${b % 2}`)],
  'kv.setMany': ({ kv }, _, a, b) =>
    kv.setMany(`n${a % 2}`, [
      { key: `k${b % 3}`, value: a },
      { key: 'm', value: b },
    ]),
  'kv.list': async ({ kv }, _, a) => [
    await kv.list(`n${a % 2}`),
    await kv.listNamespaces(),
    await kv.usage(`n${a % 2}`),
  ],
  'kv.delete': ({ kv }, _, a, b) => kv.delete(`n${a % 2}`, `k${b % 3}`),
  'kv.clear': ({ kv }, _, a) => kv.clear(`n${a % 2}`, { all: true }),
  'kv.lock': ({ kv }, _, a, b) => kv.lock(`n${a % 2}`, `k${b % 3}`, { ttlSeconds: 3_600 }),
  'kv.unlock': ({ kv }, _, a, b) => kv.unlock(`n${a % 2}`, `k${b % 3}`, 1),
};

const AGENTS: Readonly<Record<string, Operation>> = {
  'agents.save': ({ agents }, _, a, b) => agents.saveState(`agent ${a % 2}`, `k${b % 2}`, { a, b }),
  'agents.find': ({ agents }, _, a, b) => agents.findState(`agent ${a % 2}`, `k${b % 2}`),
  'agents.restore': ({ agents }, _, a, b) => agents.restoreState(`agent ${a % 2}`, `k${b % 2}`, 1),
  'agents.list': async ({ agents }, _, a) => [
    await agents.list(),
    await agents.listStates(`agent ${a % 2}`),
    await agents.listStateRevisions(`agent ${a % 2}`, 'k0'),
    await agents.listEvents(`agent ${a % 2}`),
  ],
  'agents.delete': ({ agents }, _, a, b) => agents.deleteState(`agent ${a % 2}`, `k${b % 2}`),
};

/** What was active within one millisecond, or not, is in another order each time. */
function byId<T extends { readonly id: string }>(items: readonly T[]): T[] {
  return [...items].sort((a, b) => (a.id < b.id ? -1 : 1));
}

const CONVERSATIONS: Readonly<Record<string, Operation>> = {
  'conversations.ensure': ({ conversations }, _, a, b) =>
    conversations.ensureConversation(
      thread(a),
      { title: `talk ${b}` },
      b % 3 ? {} : { idempotencyKey: `key ${a % 2}` },
    ),
  'message.add': ({ conversations }, _, a, b) =>
    conversations.addMessage(thread(a), {
      content: `word${b}`,
      user: `user ${a % 3}`,
      ...(b % 2 ? { session: `session ${a}` } : {}),
      ...(b % 3 ? { clientMessageId: `client ${b}` } : {}),
    }),
  'message.edit': ({ conversations }, pick, a, b) =>
    conversations.editMessage(thread(a), pick('message', b), { content: `edit${a}` }),
  'message.delete': ({ conversations }, pick, a, b) => conversations.deleteMessage(thread(a), pick('message', b)),
  'message.purge': ({ conversations }, pick, a, b) => conversations.purgeMessage(thread(a), pick('message', b)),
  'message.get': async ({ conversations }, pick, a, b) => [
    await conversations.getMessage(thread(a), pick('message', b)),
    await conversations.listRevisions(thread(a), pick('message', b)),
  ],
  'conversations.read': async ({ conversations }, _, a, b) => [
    await conversations.getConversation(thread(a)),
    await conversations.listMessages(thread(a), { includeDeleted: b % 2 === 0 }),
    await conversations.listMessageEvents({ conversationId: thread(a) }),
    await conversations.listEvents(thread(a)),
  ],
  'conversations.list': async ({ conversations }, _, __, b) => [
    byId((await conversations.listConversations({ by: 'activeAt' })).items),
    await conversations.search({ text: `word${b}` }),
    await conversations.queryMessages({ conversationIds: THREADS }),
    await conversations.listUserProfiles(),
    await conversations.statistics(),
  ],
  'conversations.archive': ({ conversations }, _, a) => conversations.archiveConversation(thread(a)),
  'conversations.reset': ({ conversations }, _, a) => conversations.resetConversation(thread(a)),
  'conversations.delete': ({ conversations }, _, a) => conversations.deleteConversation(thread(a)),
  'conversations.retain': ({ conversations }, _, a) => conversations.retain({ maxConversations: (a % 2) + 1 }),
  'user.ensure': ({ conversations }, _, a, b) => conversations.ensureUser(`user ${a % 3}`, { metadata: { b } }),
  'user.session': ({ conversations }, pick, a, b) =>
    conversations.ensureSession(`session ${a}`, b % 2 ? { userId: pick('user', b) } : {}),
  'user.delete': ({ conversations }, pick, a) => conversations.deleteUser(pick('user', a)),
  'user.endSession': async ({ conversations }, _, a) => {
    const { sessionId } = (await conversations.getConversation(thread(a))) ?? {};
    return conversations.deleteSession(sessionId ?? NOBODYS[0]!);
  },
  'conversations.trim': ({ conversations }, _, a, b) => conversations.trimHistory(thread(a), { keep: (b % 3) + 1 }),
  'conversations.tenants': ({ conversations }) => conversations.listTenants(),
  'user.get': ({ conversations }, pick, a) => conversations.getUser(pick('user', a)),
};

const TASKS: Readonly<Record<string, Operation>> = {
  'task.create': ({ tasks }, _, a, b) =>
    tasks.create(
      { title: `task ${b}`, status: 'ready', ...(a % 3 ? {} : { conversationId: thread(a) }) },
      b % 3 ? {} : { idempotencyKey: `key ${a}` },
    ),
  'task.get': ({ tasks }, pick, a) => tasks.get(pick('task', a), { withEvents: true }),
  'task.list': async ({ tasks }, _, a) => [
    await tasks.list(a % 2 ? { conversationId: thread(a) } : {}),
    await tasks.search({ text: 'task' }),
    await tasks.ready(),
  ],
  'task.transition': ({ tasks }, pick, a, b) => tasks.transition(pick('task', a), b % 2 ? 'in_progress' : 'cancelled'),
  'task.depend': ({ tasks }, pick, a, b) => tasks.addDependency(pick('task', a), pick('task', b)),
  'task.delete': ({ tasks }, pick, a) => tasks.delete(pick('task', a), { cascade: true }),
};

const JOBS: Readonly<Record<string, Operation>> = {
  'job.create': ({ jobs }, _, a, b) => jobs.create({ name: `job ${a % 4}`, metadata: { roster: ['ann'], b } }),
  'job.ensure': ({ jobs }, _, a, b) => jobs.ensure({ name: `job ${a % 4}`, metadata: { roster: ['bob'], b } }),
  'job.byName': ({ jobs }, _, a) => jobs.getByName(`job ${a % 4}`),
  'job.get': ({ jobs }, pick, a) => jobs.get(pick('job', a), { withRuns: true, withSchedule: true, withEvents: true }),
  'job.list': async ({ jobs }) => [await jobs.list(), { ...(await jobs.stats()), claimLatency: 0, oldestDue: 0 }],
  'job.schedule': ({ jobs }, pick, a) => jobs.upsertSchedule(pick('job', a), { expression: '@yearly' }),
  'job.enqueue': ({ jobs }, pick, a, b) => jobs.enqueueRun(pick('job', a), { payload: b, idempotencyKey: `key ${b}` }),
  'job.link': ({ jobs }, pick, a, b) => jobs.linkTask(pick('job', a), pick('task', b)),
  'job.links': async ({ jobs, tasks }, pick, a) => [
    await tasks.list({ jobId: pick('job', a) }),
    await jobs.listLinkedTasks(pick('job', a)),
  ],
  'job.delete': ({ jobs }, pick, a) => jobs.delete(pick('job', a), { force: true }),
};

const OPERATIONS = { ...KV, ...AGENTS, ...CONVERSATIONS, ...TASKS, ...JOBS };
const MAKING = ['message.add', 'task.create', 'job.create', 'user.ensure', 'kv.set', 'agents.save'];

const STEP: fc.Arbitrary<Step> = fc.record({
  tenant: fc.constantFrom(0, 1),
  operation: fc.oneof(fc.constantFrom(...MAKING), fc.constantFrom(...Object.keys(OPERATIONS))),
  a: fc.nat(9),
  b: fc.nat(9),
});

/** Each tenant begins with something of everything: most of what is done needs it. */
const FIRST: readonly Step[] = [...MAKING, 'task.create', 'job.create', 'message.add'].flatMap((operation, i) =>
  ([0, 1] as const).map((tenant) => ({ tenant, operation, a: i, b: i })),
);

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
const VOLATILE = /\d{4}-\d\d-\d\dT[\d:.]+Z|"(latencyMs|waitedMs|ttlSeconds)":[\d.]+/g;

async function nextMillisecond(): Promise<void> {
  for (const now = Date.now(); Date.now() === now;) await setImmediate();
}

/** What one tenant does, and is told: ids by the order in which it met them, without times. */
class Side {
  readonly told: string[] = [];
  readonly given = new Map<string, string[]>();
  other: ReadonlyMap<string, readonly string[]> = new Map();
  private readonly names = new Map<string, string>(THREADS.map((id, i) => [id, `thread ${i}`]));

  constructor(
    private readonly storage: TenantStorage,
    private readonly tenant: string,
    private readonly succeeded: Set<string>,
  ) {}

  async take({ operation, a, b }: Step): Promise<void> {
    const strange = new Map<string, string>();
    const pick: Pick = (kind, place) => {
      const own = this.given.get(kind) ?? [];
      if (place % 5 !== 4 && own.length > 0) return own[place % own.length]!;
      const id = this.other.get(kind)?.[place] ?? NOBODYS[place]!;
      strange.set(id, `strange ${place}`);
      return id;
    };
    const result = await OPERATIONS[operation]!(this.storage, pick, a, b).then(
      (done) => {
        this.succeeded.add(operation);
        return done;
      },
      (error: unknown) => {
        if (!isStorageError(error)) throw error;
        return { code: error.code, message: error.message, details: error.details };
      },
    );
    const [kind, does] = operation.split('.') as [string, string];
    // Retention by number goes by the time of the last activity, and of two at the same time it takes either.
    if (['conversations', 'message'].includes(kind)) await nextMillisecond();
    const id: unknown = (result as { id?: unknown } | undefined)?.id;
    if (['add', 'create', 'ensure'].includes(does) && typeof id === 'string')
      this.given.set(kind, [...(this.given.get(kind) ?? []), id]);
    const shown = JSON.stringify([operation, a, b, result ?? null])
      .replaceAll(this.tenant, 'tenant')
      .replaceAll(VOLATILE, '')
      .replaceAll(UUID, (met) => strange.get(met) ?? this.nameOf(met));
    this.told.push(shown);
  }

  private nameOf(id: string): string {
    const name = this.names.get(id) ?? `id ${this.names.size}`;
    this.names.set(id, name);
    return name;
  }
}

/** What a handle sees of any store. */
async function seen({ kv, tasks, jobs, conversations, agents }: Storage): Promise<unknown> {
  return {
    kv: [await kv.listNamespaces(), (await kv.list('n0')).items, await kv.usage('n0')],
    tasks: [(await tasks.list()).items, (await tasks.search()).count, await tasks.ready()],
    jobs: [(await jobs.list()).items, (await jobs.stats()).jobs, (await jobs.listDeadRuns()).items],
    agents: [(await agents.list()).items, (await agents.listStates('agent 0')).items],
    conversations: [
      await conversations.statistics(),
      byId((await conversations.listConversations()).items),
      (await conversations.queryMessages()).items,
      (await conversations.search()).count,
      await conversations.getConversation(thread(0)),
      await conversations.listEvents(thread(0)),
    ],
  };
}

for (const target of storageTargets('tenancy').filter(({ name }) => ['memory', 'pglite'].includes(name)))
  describe(`two tenants of every store on ${target.name}`, () => {
    const storage = useStorage(target);

    test('each is told what it would be told alone, and the manager sees neither', async () => {
      let tenants = 0;
      const succeeded = new Set<string>();
      const side = (): Side => {
        const tenant = `of-two-${1_000 + ++tenants}`;
        return new Side(storage().tenant(tenant), tenant, succeeded);
      };
      const untouched = await seen(storage());
      // A failure names the seed and the path to run it again with.
      const steps = fc.array(STEP, { minLength: 20, maxLength: 40 });
      await fc.assert(
        fc.asyncProperty(steps, async (drawn) => {
          const taken = [...FIRST, ...drawn];
          const together = [side(), side()] as const;
          const alone = [side(), side()] as const;
          together[0].other = together[1].given;
          together[1].other = together[0].given;
          for (const step of taken) await together[step.tenant].take(step);
          for (const tenant of [0, 1] as const) {
            for (const step of taken) if (step.tenant === tenant) await alone[tenant].take(step);
            expect(together[tenant].told).toEqual(alone[tenant].told);
          }
        }),
        { numRuns: 30 },
      );
      expect([...succeeded]).toEqual(expect.arrayContaining(MAKING));
      expect(succeeded.size).toBeGreaterThan((Object.keys(OPERATIONS).length * 2) / 3);
      expect(await seen(storage())).toEqual(untouched);
      expect(await storage().jobs.list()).toEqual({ items: [] });
      expect(await storage().conversations.statistics()).toMatchObject({ conversations: 0, messages: 0, users: 0 });
    }, 300_000);
  });
