/** Tasks that wait for others: what gates, what is ready, and that no circle can be closed. */
import { expect, jest, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { DEPENDENCIES, dependencyId } from '../../src/adapters/tasks/records.js';
import { openStorage, type TaskStatus, type TaskStore } from '../../src/index.js';
import { describeTasks, refused } from '../support/task-storage.js';

async function make(store: TaskStore, number: number, status: TaskStatus = 'draft'): Promise<string[]> {
  const made = Array.from({ length: number }, (_, i) => store.create({ title: `task ${i}`, status }));
  return (await Promise.all(made)).map(({ id }) => id);
}

/** Every edge of the tenant, as pairs. */
async function edges(store: TaskStore, ids: readonly string[]): Promise<[string, string][]> {
  const pages = await Promise.all(ids.map((id) => store.listDependencies(id, { limit: 100 })));
  return pages.flatMap(({ items }) =>
    items.map(({ taskId, dependsOnId }) => [taskId, dependsOnId] as [string, string]),
  );
}

function hasCircle(pairs: readonly (readonly [string, string])[]): boolean {
  let left = [...pairs];
  for (let before = -1; before !== left.length;) {
    before = left.length;
    const waiting = new Set(left.map(([from]) => from));
    left = left.filter(([, to]) => waiting.has(to));
  }
  return left.length > 0;
}

describeTasks('task dependencies', (made) => {
  test('gate every status but cancelled', async () => {
    const { tasks } = made.tenant();
    const [a, b, c] = (await make(tasks, 3)) as [string, string, string];
    await tasks.addDependency(a, b);
    await tasks.addDependency(a, c);
    expect(await refused(tasks.transition(a, 'ready'), 'DEPENDENCY_INCOMPLETE')).toEqual({
      id: a,
      ids: expect.arrayContaining([b, c]),
    });
    expect(await tasks.dependenciesComplete(a)).toBe(false);
    await tasks.transition(b, 'cancelled');
    expect((await refused(tasks.transition(a, 'ready'), 'DEPENDENCY_INCOMPLETE'))['ids']).toEqual([c]);
    for (const status of ['ready', 'in_progress', 'review', 'done'] as const) await tasks.transition(c, status);
    expect(await tasks.dependenciesComplete(a)).toBe(true);
    expect(await tasks.transition(a, 'ready')).toMatchObject({ status: 'ready' });

    const [d, e] = (await make(tasks, 2)) as [string, string];
    await tasks.addDependency(d, e);
    expect(await tasks.transition(d, 'cancelled')).toMatchObject({ status: 'cancelled' });
  });

  test('are added once, told, and taken away', async () => {
    const { tasks } = made.tenant();
    const [a, b] = (await make(tasks, 2)) as [string, string];
    const added = await tasks.addDependency(a, b, { type: 'soft', ifVersion: 1 });
    expect(added).toMatchObject({ taskId: a, dependsOnId: b, type: 'soft', version: 1 });
    expect(await tasks.addDependency(a, b, { type: 'soft' })).toEqual(added);
    // A soft one is told and gates nothing.
    expect(await tasks.dependencyStatuses(a)).toEqual([{ id: b, type: 'soft', status: 'draft' }]);
    expect(await tasks.dependenciesComplete(a)).toBe(true);
    await refused(tasks.addDependency(a, b, { ifVersion: 1 }), 'CONFLICT');
    expect(await tasks.addDependency(a, b)).toMatchObject({ type: 'blocks', version: 2 });
    await refused(tasks.transition(a, 'ready'), 'DEPENDENCY_INCOMPLETE');
    expect((await tasks.listDependents(b)).items.map(({ taskId }) => taskId)).toEqual([a]);
    expect((await tasks.listDependencies(b)).items).toEqual([]);
    expect(await tasks.removeDependency(a, b)).toBe(true);
    expect(await tasks.removeDependency(a, b)).toBe(false);
    expect(await tasks.dependencyStatuses(a)).toEqual([]);
    const told = await tasks.listEvents(a);
    expect(told.map(({ type }) => type)).toEqual([
      'task.created',
      'task.dependency_added',
      'task.dependency_added',
      'task.dependency_removed',
    ]);
    expect(told[1]!.payload).toEqual({ taskId: a, tenantId: added.tenantId, dependsOnId: b, type: 'soft' });
  });

  test('are refused where they make no sense', async () => {
    const { tasks } = made.tenant();
    const [a, b, c] = (await make(tasks, 3)) as [string, string, string];
    const [done] = (await make(tasks, 1, 'done')) as [string];
    await refused(tasks.addDependency(a, randomUUID()), 'NOT_FOUND');
    await refused(tasks.addDependency(randomUUID(), a), 'NOT_FOUND');
    expect(await refused(tasks.addDependency(done, a), 'CONFLICT')).toMatchObject({ reason: 'terminal' });
    expect(await refused(tasks.addDependency(a, a), 'DEPENDENCY_CYCLE')).toEqual({ path: [a, a] });
    await tasks.addDependency(a, b);
    await tasks.addDependency(b, c, { type: 'soft' });
    expect(await refused(tasks.addDependency(c, a), 'DEPENDENCY_CYCLE')).toEqual({ path: [c, a, b, c] });
    await refused(made.tenant().tasks.addDependency(a, c), 'NOT_FOUND');
    expect(await edges(tasks, [a, b, c])).toEqual([
      [a, b],
      [b, c],
    ]);
  });

  test('closing a circle together: one loses', async () => {
    const { tasks } = made.tenant();
    for (let round = 0; round < 5; round++) {
      const [a, b] = (await make(tasks, 2)) as [string, string];
      const both = await Promise.allSettled([tasks.addDependency(a, b), tasks.addDependency(b, a)]);
      const lost = both.flatMap((one) => (one.status === 'rejected' ? [(one.reason as { code: string }).code] : []));
      expect(lost).toEqual(['DEPENDENCY_CYCLE']);
    }
  });

  test('fifty at once never leave a circle', async () => {
    const { tasks } = made.tenant();
    const ids = await make(tasks, 8);
    const pick = (): string => ids[Math.floor(Math.random() * ids.length)]!;
    const pairs = Array.from({ length: 50 }, () => [pick(), pick()] as const);
    const results = await Promise.allSettled(pairs.map(([from, to]) => tasks.addDependency(from, to)));
    const codes = results.map((one) => (one.status === 'rejected' ? (one.reason as { code: string }).code : 'added'));
    for (const code of codes) expect(['added', 'DEPENDENCY_CYCLE', 'CONFLICT']).toContain(code);
    expect(codes).toContain('added');
    const left = await edges(tasks, ids);
    expect(hasCircle(left)).toBe(false);
    for (const [i, [from, to]] of pairs.entries()) if (codes[i] === 'added') expect(left).toContainEqual([from, to]);
  });

  test('added while the task goes on are never missed', async () => {
    const { tasks } = made.tenant();
    for (let round = 0; round < 10; round++) {
      const [a, b] = (await make(tasks, 2)) as [string, string];
      await Promise.allSettled([tasks.transition(a, 'ready'), tasks.addDependency(a, b)]);
      // Whichever was first, the history is one in which the guard held.
      const told = (await tasks.listEvents(a)).map(({ type }) => type);
      const added = told.indexOf('task.dependency_added');
      const changed = told.indexOf('task.status_changed');
      if (changed >= 0 && added >= 0) expect(changed).toBeLessThan(added);
      expect(added).toBeGreaterThan(0);
    }
  });

  test('tell what is ready, the most urgent first', async () => {
    const { tasks } = made.tenant();
    const create = (title: string, priority: number, dueAt?: string, status: TaskStatus = 'draft') =>
      tasks.create({ title, priority, status, ...(dueAt === undefined ? {} : { dueAt }) });
    const low = await create('low', 1);
    await create('late', 5, '2031-01-01');
    await create('never', 5);
    const early = await create('early', 5, '2030-01-01', 'ready');
    const waiting = await create('waiting', 9);
    const done = await create('done', 9, undefined, 'done');
    const freed = await create('freed', 7);
    const hint = await create('hint', 8);
    await tasks.addDependency(waiting.id, low.id);
    await tasks.addDependency(freed.id, done.id);
    await tasks.addDependency(hint.id, early.id, { type: 'soft' });
    await create('begun', 9, undefined, 'in_progress');
    const titles = async (limit?: number) =>
      (await tasks.ready(limit === undefined ? {} : { limit })).map(({ title }) => title);
    expect(await titles()).toEqual(['hint', 'freed', 'early', 'late', 'never', 'low']);
    expect(await titles(2)).toEqual(['hint', 'freed']);
  });

  test('tell what is ready without a query a task', async () => {
    const { tasks } = made.tenant();
    const ids = await make(tasks, 60);
    for (const [i, id] of ids.slice(1).entries()) await tasks.addDependency(id, ids[i]!);
    const { backend } = tasks['host'];
    const spies = (['find', 'read', 'count'] as const).map((name) => jest.spyOn(backend, name));
    expect((await tasks.ready()).map(({ id }) => id)).toEqual([ids[0]]);
    expect(spies.map(({ mock }) => mock.calls.length)).toEqual([3, 1, 0]);
    for (const spy of spies) spy.mockRestore();
  });

  test('tell what is ready in one order, of drafts and of what is ready, however far each is read', async () => {
    const { tasks } = made.tenant();
    // Of the drafts all but the last wait, and are the most urgent: they are read on while the others lie there.
    const drafts = await Promise.all(
      Array.from({ length: 50 }, (_, i) => tasks.create({ title: `draft ${i}`, priority: i < 49 ? 90 : 20 })),
    );
    const dueAt = (i: number): Date => new Date(Date.UTC(2030, 0, 1 + (i % 3)));
    const others = await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        tasks.create({ title: `ready ${i}`, priority: 10 * (i % 4), dueAt: dueAt(i), status: 'ready' }),
      ),
    );
    const first = others[0]!.id;
    for (const { id } of drafts.slice(0, 49)) await tasks.addDependency(id, first);
    const free = [...others, drafts[49]!];
    const end = Infinity;
    free.sort(
      (a, b) =>
        b.priority - a.priority || (a.dueAt?.getTime() ?? end) - (b.dueAt?.getTime() ?? end) || (a.id < b.id ? -1 : 1),
    );
    const titles = free.map(({ title }) => title);
    for (const limit of [1, 9, 30, 100])
      expect((await tasks.ready({ limit })).map(({ title }) => title)).toEqual(titles.slice(0, limit));
  });

  test('tell once what becomes ready meanwhile', async () => {
    const { tasks } = made.tenant();
    const others = 30;
    const add = (i: number, priority: number, status: TaskStatus) => tasks.create({ title: `${i}`, priority, status });
    for (let i = 0; i < others; i++) await add(i, 1, i % 2 ? 'draft' : 'ready');
    const urgent = await Promise.all(Array.from({ length: 40 }, (_, i) => add(i, 2, 'draft')));
    const ids = urgent.map(({ id }) => id).sort();
    let isMoving = true;
    const read = async (limit: number): Promise<void> => {
      while (isMoving) {
        const met = (await tasks.ready({ limit })).map(({ id }) => id);
        expect(new Set(met).size).toBe(limit);
        expect(met.slice(0, 40).sort()).toEqual(ids);
      }
    };
    const reads = [40, 40, 40 + others].map((limit) => read(limit));
    for (const id of ids) await tasks.transition(id, 'ready');
    isMoving = false;
    await Promise.all(reads);
  });

  test('tell what is ready behind many that wait', async () => {
    const { tasks } = made.tenant();
    const last = await tasks.create({ title: 'last', priority: 0 });
    const waiting = await Promise.all(
      Array.from({ length: 205 }, () => tasks.create({ title: 'waiting', priority: 50 })),
    );
    for (const { id } of waiting) await tasks.addDependency(id, last.id);
    expect((await tasks.ready()).map(({ title }) => title)).toEqual(['last']);
  });
});

test('a search for a circle looks at 10,000 tasks at most', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  const { tasks } = storage;
  const [before, from, to] = (await make(tasks, 3)) as [string, string, string];
  // Something waits for the one that is to wait: else nothing can be closed.
  await tasks.addDependency(before, from);
  const dependencies = tasks['records'](DEPENDENCIES);
  const lead = async (count: number): Promise<void> => {
    const edges = Array.from({ length: count }, () => ({
      taskId: to,
      dependsOnId: randomUUID(),
      type: 'soft' as const,
    }));
    for (let i = 0; i < count; i += 1_000)
      await dependencies.saveMany(
        edges.slice(i, i + 1_000).map((value) => ({ id: dependencyId(to, value.dependsOnId), value })),
      );
  };
  await lead(100);
  await tasks.addDependency(from, to);
  await tasks.removeDependency(from, to);
  await lead(9_900);
  expect(await refused(tasks.addDependency(from, to), 'VALIDATION')).toMatchObject({ key: 'dependsOnId' });
});

describeTasks(
  'task dependencies when cancelled is not enough',
  (made) =>
    test('wait for done', async () => {
      const { tasks } = made.tenant();
      const [a, b] = (await make(tasks, 2)) as [string, string];
      await tasks.addDependency(a, b);
      await tasks.transition(b, 'cancelled');
      expect(await tasks.dependenciesComplete(a)).toBe(false);
      expect(await tasks.ready()).toEqual([]);
      await refused(tasks.transition(a, 'ready'), 'DEPENDENCY_INCOMPLETE');
    }),
  { settings: { tasks: { cancelledSatisfies: false } } },
);
