/** Two tenants of one store: each finds what it would find alone, whatever the other does. */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { randomUUID } from 'node:crypto';
import { isStorageError, type TaskStatus, type TaskStore } from '../../src/index.js';
import { describeTasks } from '../support/task-storage.js';

// The same people and conversations in both tenants.
const PEOPLE = [randomUUID(), randomUUID()];
const TALK = randomUUID();
const NOBODYS = Array.from({ length: 13 }, () => randomUUID());
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
  addDependency: (store, pick, { a, b }) => store.addDependency(pick(a), pick(b), { type: a % 4 ? 'blocks' : 'soft' }),
  removeDependency: (store, pick, { a, b }) => store.removeDependency(pick(a), pick(b)),
  assign: (store, pick, { a, b }) => store.assign(pick(a), PEOPLE[b % 2]!),
  respond: (store, pick, { a, b }) => store.respond(pick(a), PEOPLE[b % 2]!, 'accepted'),
  completeAssignment: (store, pick, { a, b }) => store.completeAssignment(pick(a), PEOPLE[b % 2]!),
  comment: (store, pick, { a }) => store.comment(pick(a), { text: 'x' }),
  recordEvent: (store, pick, { a }) => store.recordEvent(pick(a), { eventType: 'said' }),
  delete: (store, pick, { a, b }) => store.delete(pick(a), { cascade: b % 2 === 0 }),
  retain: (store, _, { a }) => store.retain({ taskDays: 1 }, { dryRun: a % 2 === 0 }),
};

const STEP = fc.record({
  kind: fc.oneof(
    { weight: 2, arbitrary: fc.constantFrom('create', 'addDependency') },
    { weight: 3, arbitrary: fc.constantFrom(...Object.keys(OPERATIONS)) },
  ),
  a: fc.nat(12),
  b: fc.nat(12),
  status: fc.constantFrom(...STATUSES),
});

/** A tenant's side of a run. Every fifth number means a task of the other tenant, which is none of this one's. */
class Side {
  readonly ids: string[] = [];
  readonly told: string[] = [];
  other: readonly string[] = [];

  constructor(
    private readonly store: TaskStore,
    readonly tenant: string,
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
    const runs = ['memory', 'sqlite'].includes(target) ? 40 : 4;
    let count = 0;
    const side = (): Side => {
      const tenant = `of-two-${++count}`;
      return new Side(made.tenant(tenant).tasks, tenant);
    };
    const steps = fc.array(fc.tuple(fc.boolean(), STEP), { minLength: 20, maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(steps, async (taken) => {
        const [a, b, alone] = [side(), side(), side()];
        a.other = b.ids;
        b.other = a.ids;
        for (const [isA, step] of taken) await (isA ? a : b).take(step);
        for (const [isA, step] of taken) if (isA) await alone.take(step);
        expect(a.told).toEqual(alone.told);
      }),
      { numRuns: runs },
    );
  }),
);
