/** Two tenants of one store: each finds what it would find alone, whatever the other does. */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { randomUUID } from 'node:crypto';
import { isStorageError, type TaskStatus, type TaskStore } from '../../src/index.js';
import { describeTasks } from '../support/task-storage.js';

// The same people and conversations in both tenants.
const PEOPLE = [randomUUID(), randomUUID()];
const TALK = randomUUID();
const NOBODYS = Array.from({ length: 14 }, () => randomUUID());
const STATUSES: readonly TaskStatus[] = ['draft', 'ready', 'in_progress', 'review', 'done', 'cancelled'];

/** Picks a task by a number: one of the tenant's own, or another tenant's, or none. */
type Pick = (place: number) => string;
interface Step {
  readonly kind: string;
  readonly a: number;
  readonly b: number;
  readonly status: TaskStatus;
}

const OPERATIONS: Readonly<Record<string, (store: TaskStore, pick: Pick, step: Step) => Promise<unknown>>> = {
  create: (store, pick, { a, b, status }) =>
    store.create(
      {
        title: `task ${a}`,
        status,
        priority: b,
        ownerId: PEOPLE[a % 2]!,
        conversationId: TALK,
        dueAt: '2020-01-01',
        ...(b % 3 === 0 ? { parentTaskId: pick(b) } : {}),
      },
      a % 5 === 0 ? { idempotencyKey: `key ${b}` } : {},
    ),
  get: (store, pick, { a }) => store.get(pick(a), { withEvents: true }),
  list: (store, _, { a, status }) =>
    store.list([{}, { status }, { assigneeId: PEOPLE[0]! }, { overdue: true, sort: 'priority' } as const][a % 4]),
  search: (store, _, { a }) => store.search({ text: `${a}`, conversationId: TALK }),
  ready: (store) => store.ready(),
  subtasks: (store, pick, { a }) => store.listSubtasks(pick(a)),
  events: (store, pick, { a }) => store.listEvents(pick(a)),
  dependencies: (store, pick, { a }) => store.listDependencies(pick(a)),
  dependents: (store, pick, { a }) => store.listDependents(pick(a)),
  statuses: (store, pick, { a }) => store.dependencyStatuses(pick(a)),
  complete: (store, pick, { a }) => store.dependenciesComplete(pick(a)),
  assignments: (store, _, { a }) => store.listAssignments({ assigneeId: PEOPLE[a % 2]! }),
  update: (store, pick, { a, b }) => store.update(pick(a), b % 2 ? { parentTaskId: pick(b) } : { title: `task ${b}` }),
  transition: (store, pick, { a, status }) => store.transition(pick(a), status),
  transitionMany: (store, pick, { a, b, status }) =>
    store.transitionMany([
      { id: pick(a), status },
      { id: pick(b), status: 'cancelled' },
    ]),
  addDependency: (store, pick, { a, b }) =>
    store.addDependency(pick(a), pick(b % 2 ? b : a + 1), { type: a % 4 ? 'blocks' : 'soft' }),
  removeDependency: async (store, pick, { a, b }) => {
    const [id, other] = [pick(a), pick(a + 1)];
    if (b % 2) await store.addDependency(id, other);
    return store.removeDependency(id, other);
  },
  // One number tells the task and who: the steps of one assignment meet, as those of an edge do.
  assign: (store, pick, { a }) => store.assign(pick(a), PEOPLE[a % 2]!),
  respond: (store, pick, { a, b }) => store.respond(pick(a), PEOPLE[a % 2]!, b % 4 ? 'accepted' : 'declined'),
  completeAssignment: async (store, pick, { a, b }) => {
    const [id, who] = [pick(a), PEOPLE[a % 2]!];
    if (b % 2) await store.assign(id, who);
    if (b % 2) await store.respond(id, who, 'accepted');
    return store.completeAssignment(id, who);
  },
  comment: (store, pick, { a }) => store.comment(pick(a), { text: 'x' }),
  recordEvent: (store, pick, { a }) => store.recordEvent(pick(a), { eventType: 'said' }),
  delete: (store, pick, { a, b }) => store.delete(pick(a), { cascade: b % 2 === 0 }),
  retain: (store, _, { a }) => store.retain({ taskDays: 1 }, { dryRun: a % 2 === 0 }),
};

/** What seldom has something to find or to do is tried more often. */
const SELDOM = [
  ...['addDependency', 'removeDependency', 'dependencies', 'dependents', 'statuses', 'subtasks'],
  ...['assign', 'respond', 'completeAssignment', 'transitionMany', 'retain'],
];

const STEP = fc.record({
  kind: fc.oneof(
    { weight: 2, arbitrary: fc.constantFrom(...SELDOM) },
    { weight: 3, arbitrary: fc.constantFrom(...Object.keys(OPERATIONS)) },
  ),
  a: fc.nat(12),
  b: fc.nat(12),
  status: fc.constantFrom(...STATUSES),
});

/** Each side begins with some tasks, of which one waits for another: most of what is done needs them. */
const CREATES: readonly Step[] = [1, 2, 3, 4].map((a) => ({ kind: 'create', a, b: a, status: 'draft' }));
const FIRST: readonly Step[] = [...CREATES, { kind: 'addDependency', a: 1, b: 0, status: 'draft' }];

/** Whether it found or did something: what is refused or finds nothing tells little of two tenants. */
function isTelling(result: unknown): boolean {
  if (typeof result !== 'object' || result === null) return result !== false;
  if ('code' in result) return false;
  const found =
    'items' in result ? result.items : 'jobLinks' in result ? Object.values(result).filter(Boolean) : result;
  return !Array.isArray(found) || found.length > 0;
}

/** A tenant's side of a run. Every fifth number means a task of the other tenant, which is none of this one's. */
class Side {
  readonly ids: string[] = [];
  readonly told: string[] = [];
  other: readonly string[] = [];

  constructor(
    private readonly store: TaskStore,
    readonly tenant: string,
    private readonly succeeded: Set<string>,
  ) {}

  async take(step: Step): Promise<void> {
    const strange = new Map<string, string>();
    const pick: Pick = (place) => {
      const own = this.ids[place % Math.max(1, this.ids.length)];
      if (place % 5 !== 4 && own !== undefined) return own;
      const id = this.other[place] ?? NOBODYS[place]!;
      strange.set(id, `strange ${place}`);
      return id;
    };
    const result: unknown = await OPERATIONS[step.kind]!(this.store, pick, step).catch((error: unknown) => {
      if (!isStorageError(error)) throw error;
      return { code: error.code, details: error.details };
    });
    if (isTelling(result)) this.succeeded.add(step.kind);
    if (step.kind === 'create' && typeof (result as { id?: unknown }).id === 'string')
      this.ids.push((result as { id: string }).id);
    let shown = JSON.stringify([step, result ?? null]);
    for (const [i, id] of this.ids.entries()) shown = shown.replaceAll(id, `own ${i}`);
    for (const [id, name] of strange) shown = shown.replaceAll(id, name);
    const times = /"(createdAt|updatedAt)":"[^"]*"|"latencyMs":\d+/g;
    this.told.push(shown.replace(times, '').replaceAll(this.tenant, 'tenant'));
  }
}

describeTasks('tasks of two tenants', (made, target) =>
  test('are as if the other were not there', async () => {
    const [runs, length] = ['memory', 'sqlite'].includes(target) ? [30, 80] : [4, 40];
    const succeeded = new Set<string>();
    let count = 0;
    const side = async (): Promise<Side> => {
      const tenant = `of-two-${++count}`;
      const { tasks, conversations } = made.tenant(tenant);
      await conversations.ensureConversation(TALK);
      return new Side(tasks, tenant, succeeded);
    };
    const steps = fc.array(fc.tuple(fc.boolean(), STEP), { minLength: length / 2, maxLength: length });
    await fc.assert(
      fc.asyncProperty(steps, async (taken) => {
        const [a, b, alone] = [await side(), await side(), await side()];
        a.other = b.ids;
        b.other = a.ids;
        const all = [...FIRST.flatMap((step) => [[true, step] as const, [false, step] as const]), ...taken];
        const pass = async (side: Side | undefined, step: Step): Promise<void> => {
          // Retention finds what is old; whoever is alone grows old with the others.
          if (step.kind === 'retain') made.wait(2);
          await side?.take(step);
        };
        for (const [isA, step] of all) await pass(isA ? a : b, step);
        for (const [isA, step] of all) await pass(isA ? alone : undefined, step);
        expect(a.told).toEqual(alone.told);
        expect(Math.min(a.ids.length, b.ids.length)).toBeGreaterThanOrEqual(CREATES.length);
      }),
      { numRuns: runs },
    );
    if (runs > 4) expect([...succeeded].sort()).toEqual(Object.keys(OPERATIONS).sort());
  }),
);
