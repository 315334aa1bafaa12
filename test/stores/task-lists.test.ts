/** Lists of tasks: every filter, every order, page by page; and search. */
import { expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { Storage, Task, TaskListOptions, TaskStatus, TaskStore } from '../../src/index.js';
import { describeTasks, refused } from '../support/task-storage.js';

const [ANN, BOB, TALK] = [randomUUID(), randomUUID(), randomUUID()];
const STATUSES: readonly TaskStatus[] = ['draft', 'ready', 'in_progress', 'review', 'done', 'cancelled'];
const DUE = ['2020-01-01', undefined, '2090-01-01', '2020-06-01', undefined];

/** Thirty tasks in which every property has several values. */
async function fill({ tasks: store, conversations }: Pick<Storage, 'tasks' | 'conversations'>): Promise<Task[]> {
  const made: Task[] = [];
  await conversations.ensureConversation(TALK);
  for (let i = 0; i < 30; i++) {
    const due = DUE[i % 5];
    const { events: _, ...task } = await store.create({
      title: `task ${i} of ${i % 2 ? 'Odd' : 'even'}`,
      ...(i % 3 ? {} : { description: 'Needs 100% of it_all \\ more' }),
      status: STATUSES[i % 6]!,
      priority: (i * 7) % 101,
      ownerId: i % 4 ? ANN : BOB,
      ...(i % 7 ? {} : { conversationId: TALK }),
      ...(i > 0 && i % 9 === 0 ? { parentTaskId: made[0]!.id } : {}),
      metadata: { kind: i % 2 ? 'odd' : 'even', n: i % 3, flag: i % 2 === 0, none: null },
      ...(due === undefined ? {} : { dueAt: due }),
    });
    made.push(task);
  }
  for (const task of [made[3]!, made[8]!]) await store.assign(task.id, ANN);
  return Promise.all(made.map(({ id }) => store.get(id)));
}

async function all(store: TaskStore, options: TaskListOptions): Promise<Task[]> {
  const items: Task[] = [];
  for (let after: string | undefined; ;) {
    const page = await store.list({ ...options, limit: 4, ...(after === undefined ? {} : { after }) });
    items.push(...page.items);
    after = page.next;
    if (after === undefined) return items;
  }
}

const titles = (tasks: readonly Task[]): string[] => tasks.map(({ title }) => title);
const isOpen = ({ status }: Task): boolean => !['done', 'cancelled'].includes(status);
const isLate = (task: Task): boolean => isOpen(task) && task.dueAt !== undefined && task.dueAt < new Date();

describeTasks('task lists', (made) => {
  test('have what fits the filter, in the order asked for', async () => {
    const tenant = made.tenant();
    const store = tenant.tasks;
    const known = await fill(tenant);
    const newest = [...known].reverse();
    const [before, after] = [new Date('2020-06-01'), new Date('2020-01-01')];
    const filters: [TaskListOptions, (task: Task) => boolean][] = [
      [{}, () => true],
      [{ status: 'ready' }, ({ status }) => status === 'ready'],
      [
        { status: ['READY', 'done'] as unknown as TaskStatus[] },
        ({ status }) => status === 'ready' || status === 'done',
      ],
      [{ status: [] }, () => false],
      [{ status: null as unknown as TaskStatus }, () => true],
      [{ status: ' ' as TaskStatus, ownerId: '' }, () => true],
      [{ ownerId: BOB }, ({ ownerId }) => ownerId === BOB],
      [{ conversationId: TALK }, ({ conversationId }) => conversationId === TALK],
      [{ parentTaskId: known[0]!.id }, ({ parentTaskId }) => parentTaskId === known[0]!.id],
      [{ assigneeId: ANN }, ({ assigneeIds }) => assigneeIds.includes(ANN)],
      [{ priorityMin: 20, priorityMax: 70 }, ({ priority }) => priority >= 20 && priority <= 70],
      [{ dueBefore: before }, ({ dueAt }) => dueAt !== undefined && dueAt < before],
      [{ dueAfter: after }, ({ dueAt }) => dueAt !== undefined && dueAt > after],
      [{ dueAfter: '2020-01-01', dueBefore: '2021-01-01' }, ({ dueAt }) => dueAt?.getUTCMonth() === 5],
      [{ overdue: true }, isLate],
      [{ overdue: false }, (task) => !isLate(task)],
      [
        { overdue: true, status: ['ready', 'done'], ownerId: ANN },
        (task) => isLate(task) && task.status === 'ready' && task.ownerId === ANN,
      ],
    ];
    for (const [options, fits] of filters)
      expect([options, titles(await all(store, options))]).toEqual([options, titles(newest.filter(fits))]);
    expect((await store.list({ limit: 2 })).items).toEqual(newest.slice(0, 2));
    expect((await store.listSubtasks(known[0]!.id)).items).toEqual([known[9], known[18], known[27]]);
  });

  test('are in every order there is', async () => {
    const tenant = made.tenant();
    const store = tenant.tasks;
    const known = await fill(tenant);
    const place = new Map(known.map(({ id }, i) => [id, i]));
    const keys: Record<NonNullable<TaskListOptions['sort']>, (task: Task) => number> = {
      createdAt: ({ id }) => place.get(id)!,
      updatedAt: ({ updatedAt }) => updatedAt.getTime(),
      dueAt: ({ dueAt }) => dueAt?.getTime() ?? NaN,
      priority: ({ priority }) => priority,
    };
    for (const sort of ['createdAt', 'updatedAt', 'dueAt', 'priority'] as const)
      for (const order of ['asc', 'desc'] as const) {
        const sign = order === 'asc' ? 1 : -1;
        const key = keys[sort];
        const sorted = [...known].sort((a, b) => {
          const [x, y] = [key(a), key(b)];
          // Those that are never due come last in either order.
          if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
          return sign * ((Number.isNaN(x) ? 0 : x - y) || place.get(a.id)! - place.get(b.id)!);
        });
        expect([sort, order, titles(await all(store, { sort, order }))]).toEqual([sort, order, titles(sorted)]);
      }
    const byDue = titles(await all(store, { sort: 'dueAt', order: 'asc' }));
    const anyCase = { sort: 'DUEAT', order: 'ASC' } as unknown as TaskListOptions;
    for (const options of [{ sort: 'dueAt' } as const, anyCase])
      expect(titles(await all(store, options))).toEqual(byDue);
    const blank = { sort: '', order: null } as unknown as TaskListOptions;
    expect(await store.list(blank)).toEqual(await store.list());
  });

  test('go both ways by cursors of their own', async () => {
    const tenant = made.tenant();
    const store = tenant.tasks;
    await fill(tenant);
    for (const options of [{}, { overdue: false }]) {
      const first = await store.list({ ...options, limit: 5 });
      const second = await store.list({ ...options, limit: 5, after: first.next! });
      expect((await store.list({ ...options, limit: 5, after: second.previous! })).items).toEqual(first.items);
      await refused(store.list({ ...options, ownerId: ANN, after: first.next! }), 'INVALID_CURSOR');
      await refused(made.tenant().tasks.list({ ...options, after: first.next! }), 'INVALID_CURSOR');
      await refused(store.list({ ...options, after: 'x' }), 'INVALID_CURSOR');
      // Made in the order createdAt, desc.
      for (const sort of ['updatedAt', 'priority', 'dueAt'] as const)
        for (const order of ['asc', 'desc'] as const)
          await refused(store.list({ ...options, sort, order, after: first.next! }), 'INVALID_CURSOR');
      await refused(store.list({ ...options, order: 'asc', after: first.next! }), 'INVALID_CURSOR');
    }
    const ids = (await store.search({ limit: 1 })).items.map(({ id }) => id);
    await refused(store.listSubtasks(ids[0]!, { after: 'x' }), 'INVALID_CURSOR');
  });

  test('are searched, and counted whole', async () => {
    const tenant = made.tenant();
    const store = tenant.tasks;
    const newest = [...(await fill(tenant))].reverse();
    const odd = newest.filter(({ title }) => title.includes('Odd'));
    expect(await store.search({ text: 'oDD', limit: 3 })).toEqual({ count: odd.length, items: odd.slice(0, 3) });
    const next = await store.search({ text: 'odd', limit: 3, offset: 3 });
    expect(next).toEqual({ count: odd.length, items: odd.slice(3, 6) });
    expect(await store.search({ text: 'odd', offset: 15 })).toEqual({ count: odd.length, items: [] });
    // What stands for something in patterns stands for itself.
    const all = newest.filter(({ description }) => description !== undefined);
    for (const text of ['100%', 'it_all', 'all \\ more']) expect((await store.search({ text })).count).toBe(all.length);
    for (const text of ['1%0', 'it-all', '100_ of']) expect((await store.search({ text })).count).toBe(0);
    const some = await store.search({
      metadata: { kind: 'even', n: 1, flag: true, none: null },
      ownerId: ANN,
      status: 'in_progress',
    });
    expect(titles(some.items)).toEqual(
      titles(
        newest.filter(
          ({ metadata: { kind, n }, ownerId, status }) =>
            kind === 'even' && n === 1 && ownerId === ANN && status === 'in_progress',
        ),
      ),
    );
    expect((await store.search({ metadata: { n: '1' } })).count).toBe(0);
    expect((await store.search({ status: [] })).count).toBe(0);
    expect((await store.search({ status: null as unknown as TaskStatus })).count).toBe(newest.length);
    expect((await store.search()).items).toEqual(newest.slice(0, 20));
  });
});
