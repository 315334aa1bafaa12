/** Tasks: what is made, changed, and taken from status to status. */
import { expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { StoreEvent, TaskStatus, TaskStore } from '../../src/index.js';
import { describeTasks, refused } from '../support/task-storage.js';

const STATUSES: readonly TaskStatus[] = ['draft', 'ready', 'in_progress', 'review', 'done', 'cancelled'];
const ALLOWED: Readonly<Record<string, string>> = {
  draft: 'ready cancelled',
  ready: 'in_progress cancelled',
  in_progress: 'review cancelled',
  review: 'done cancelled',
  done: '',
  cancelled: '',
};

describeTasks('tasks', (made) => {
  const tasks = (): TaskStore => made.tenant().tasks;

  test('are made with what is given, and told of', async () => {
    const { tasks: store, storage } = { tasks: made.tenant('acme').tasks, storage: made.storage };
    const told: StoreEvent<string, object>[] = [];
    const stop = storage.on('task.created', (event) => told.push(event));
    const ownerId = randomUUID();
    const task = await store.create(
      { title: '  Write ', ownerId: ownerId.replaceAll('-', '').toUpperCase(), dueAt: ' 2024-05-21T09:00:00Z ' },
      { triggeredById: 'ann' },
    );
    stop();
    expect(task).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      tenantId: 'acme',
      version: 1,
      createdAt: expect.any(Date),
      updatedAt: task.createdAt,
      title: 'Write',
      status: 'draft',
      priority: 0,
      ownerId,
      assigneeIds: [],
      metadata: {},
      dueAt: new Date('2024-05-21T09:00:00Z'),
      events: [expect.objectContaining({ type: 'task.created', triggeredById: 'ann', aggregateId: task.id })],
    });
    expect(Object.keys(task)).not.toContain('description');
    expect(task.events[0]!.payload).toEqual({ taskId: task.id, tenantId: 'acme', status: 'draft', ownerId });
    expect(told).toEqual(task.events);
    const { events: _, ...plain } = task;
    expect(await store.get(task.id)).toEqual(plain);
    expect(await store.get(task.id.toUpperCase(), { withEvents: true })).toEqual(task);
    await refused(store.get(randomUUID()), 'NOT_FOUND');
  });

  test('are made without what is blank', async () => {
    const store = tasks();
    const blank = { ownerId: ' ', sessionId: '', conversationId: '', parentTaskId: '', description: ' ', dueAt: '' };
    const task = await store.create({ title: 'a', ...blank, status: ' ' as TaskStatus });
    for (const name of Object.keys(blank)) expect(Object.keys(task)).not.toContain(name);
    expect(task).toMatchObject({ title: 'a', status: 'draft' });
    const plain = await store.create({ title: 'a' });
    const names = ({ events: _, ...own }: object & { events: unknown }): string[] => Object.keys(own).sort();
    expect(names(await store.get(task.id, { withEvents: true }))).toEqual(names(plain));
  });

  test('are made once under a key', async () => {
    const store = tasks();
    const make = (title: string) => store.create({ title }, { idempotencyKey: 'k' });
    const made = await Promise.all(Array.from({ length: 8 }, () => make('one')));
    expect(new Set(made.map(({ id }) => id)).size).toBe(1);
    expect(made.flatMap(({ events }) => events)).toHaveLength(1);
    expect(await refused(make('two'), 'CONFLICT')).toMatchObject({ reason: 'idempotency' });
    expect((await store.list()).items).toHaveLength(1);
  });

  test('tell what an update really changed', async () => {
    const store = tasks();
    const [ann, bob] = [randomUUID(), randomUUID()];
    const task = await store.create({ title: 'a', description: 'b', ownerId: ann, metadata: { x: 1, y: [2] } });
    const same = { title: ' a', ownerId: ann, metadata: { y: [2], x: 1 } };
    expect(await store.update(task.id, same)).toEqual({ ...task, events: [] });
    await refused(store.update(task.id, same, { ifVersion: 2 }), 'CONFLICT');
    const dueAt = new Date('2030-01-01T00:00:00Z');
    const changed = await store.update(task.id, { ...same, description: null, ownerId: bob, dueAt }, { ifVersion: 1 });
    expect(changed).toMatchObject({ version: 2, title: 'a', ownerId: bob, dueAt });
    expect(Object.keys(changed)).not.toContain('description');
    expect(changed.events[0]!.payload).toEqual({
      taskId: task.id,
      tenantId: task.tenantId,
      changes: { description: null, ownerId: bob, dueAt: '2030-01-01T00:00:00.000Z' },
      previousOwnerId: ann,
      latencyMs: expect.any(Number),
    });
    await refused(store.update(task.id, { title: 'c' }, { ifVersion: 1 }), 'CONFLICT');
    const { events, ...plain } = changed;
    expect(await store.get(task.id, { withEvents: true })).toEqual({ ...plain, events: [...task.events, ...events] });
    expect(await store.listEvents(task.id, { after: task.events[0]!.seq })).toEqual(events);
    await refused(store.update(randomUUID(), { title: 'c' }), 'NOT_FOUND');
  });

  test('go from status to status as the table says', async () => {
    const store = tasks();
    for (const from of STATUSES)
      for (const to of STATUSES) {
        const task = await store.create({ title: `${from} to ${to}`, status: from });
        const allowed = ALLOWED[from]!.split(' ').filter(Boolean);
        if (from === to) {
          expect(await store.transition(task.id, to)).toEqual({ ...task, events: [] });
          await refused(store.transition(task.id, to, { ifVersion: 2 }), 'CONFLICT');
        } else if (allowed.includes(to)) {
          const { events, ...changed } = await store.transition(task.id, to, { reason: 'why', ifVersion: 1 });
          expect(changed).toMatchObject({ status: to, version: 2 });
          const end = ['done', 'cancelled'].includes(to) ? { success: to === 'done' } : {};
          expect(events).toMatchObject([{ type: 'task.status_changed' }]);
          expect(events[0]!.payload).toEqual({
            taskId: task.id,
            tenantId: task.tenantId,
            from,
            to,
            reason: 'why',
            ...end,
            latencyMs: expect.any(Number),
          });
        } else {
          const details = await refused(store.transition(task.id, to), 'INVALID_TRANSITION');
          expect(details).toEqual({ id: task.id, from, to, allowed });
          expect(await store.get(task.id)).toMatchObject({ status: from, version: 1 });
        }
      }
    const asWritten = await store.create({ title: 'a', status: 'In_Progress' as TaskStatus });
    expect(asWritten.status).toBe('in_progress');
  });

  test('go together or not at all', async () => {
    const store = tasks();
    const [a, b, c] = await Promise.all(['a', 'b', 'c'].map((title) => store.create({ title })));
    const to = (id: string, status: TaskStatus) => ({ id, status });
    await refused(store.transitionMany([to(a!.id, 'ready'), to(b!.id, 'review')]), 'INVALID_TRANSITION');
    await refused(store.transitionMany([to(a!.id, 'ready'), to(randomUUID(), 'ready')]), 'NOT_FOUND');
    await refused(store.transitionMany([{ ...to(a!.id, 'ready'), ifVersion: 2 }]), 'CONFLICT');
    expect(await store.get(a!.id)).toMatchObject({ status: 'draft', version: 1 });
    await store.addDependency(b!.id, a!.id);
    // The later one rests on the earlier one.
    const changed = await store.transitionMany([to(a!.id, 'cancelled'), to(b!.id, 'ready'), to(c!.id, 'draft')]);
    expect(changed.map(({ status, events }) => [status, events.length])).toEqual([
      ['cancelled', 1],
      ['ready', 1],
      ['draft', 0],
    ]);
    expect(await store.transitionMany([])).toEqual([]);
  });

  test('have one winner of a hundred', async () => {
    const store = tasks();
    const task = await store.create({ title: 'a' });
    const race = await Promise.allSettled(
      Array.from({ length: 100 }, () => store.transition(task.id, 'ready', { ifVersion: 1 })),
    );
    expect(race.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const lost = race.flatMap((one) => (one.status === 'rejected' ? [(one.reason as { code: string }).code] : []));
    expect(new Set(lost)).toEqual(new Set(['CONFLICT']));

    const review = await store.create({ title: 'b', status: 'review' });
    const ends = await Promise.allSettled(
      Array.from({ length: 100 }, (_, i) => store.transition(review.id, i % 2 ? 'done' : 'cancelled')),
    );
    const { status, events } = await store.get(review.id, { withEvents: true });
    expect(events).toHaveLength(2);
    for (const [i, end] of ends.entries()) {
      if (end.status === 'fulfilled') expect(i % 2 ? 'done' : 'cancelled').toBe(status);
      else expect(['INVALID_TRANSITION', 'CONFLICT']).toContain((end.reason as { code: string }).code);
    }
    const won = ends.filter((end) => end.status === 'fulfilled' && end.value.events.length > 0);
    expect(won).toHaveLength(1);
  });

  test('take what is said of them', async () => {
    const store = tasks();
    const task = await store.create({ title: 'a' });
    const said = await store.comment(task.id, { text: 'well' }, { triggeredById: 'ann', idempotencyKey: 'k' });
    expect(said).toMatchObject({ type: 'task.comment', payload: { text: 'well' }, triggeredById: 'ann' });
    expect(await store.comment(task.id, { text: 'well' }, { idempotencyKey: 'k' })).toEqual(said);
    await refused(store.comment(task.id, { text: 'ill' }, { idempotencyKey: 'k' }), 'CONFLICT');
    const event = { eventType: 'measured', payload: { n: 1 }, sessionId: 's' };
    const measured = await store.recordEvent(task.id, event);
    expect(measured).toMatchObject({ type: 'task.measured', payload: { n: 1 }, sessionId: 's' });
    expect((await store.listEvents(task.id)).slice(1)).toEqual([said, measured]);
    await refused(store.comment(randomUUID(), { text: 'x' }), 'NOT_FOUND');
    await refused(store.recordEvent(task.id, { eventType: 'created' }), 'VALIDATION');
  });

  test('take part in a transaction', async () => {
    const { storage } = made;
    const told: string[] = [];
    const stop = storage.on('*', (event) => told.push(event.type));
    const failed = storage.transaction(async (tx) => {
      const { id } = await tx.tasks.create({ title: 'never' });
      await tx.tasks.transition(id, 'ready');
      throw new Error('back');
    });
    await expect(failed).rejects.toThrow('back');
    expect(told).toEqual([]);
    expect((await storage.tasks.search({ text: 'never' })).count).toBe(0);
    const task = await storage.transaction(async (tx) => {
      const { id } = await tx.tasks.create({ title: 'kept' });
      return tx.tasks.transition(id, 'ready');
    });
    stop();
    expect(told).toEqual(['task.created', 'task.status_changed']);
    expect(await storage.tasks.get(task.id)).toMatchObject({ status: 'ready', version: 2 });
  });
});

describeTasks(
  'tasks with more transitions',
  (made) =>
    test('go back as the setting says', async () => {
      const { tasks } = made.tenant();
      const { id } = await tasks.create({ title: 'a', status: 'review' });
      for (const status of ['in_progress', 'ready', 'in_progress', 'review', 'done'] as const)
        expect(await tasks.transition(id, status)).toMatchObject({ status });
      const details = await refused(tasks.transition(id, 'review'), 'INVALID_TRANSITION');
      expect(details).toMatchObject({ allowed: [] });
    }),
  { settings: { tasks: { extraTransitions: true } } },
);

describeTasks(
  'tasks without atomic batches',
  (made) =>
    test('are read, and refused before any write', async () => {
      const { tasks } = made.tenant();
      expect(tasks.capabilities).toEqual({ read: true, write: false });
      await refused(tasks.create({ title: 'a' }), 'UNSUPPORTED');
      await refused(tasks.get(randomUUID()), 'NOT_FOUND');
      expect(await tasks.list()).toEqual({ items: [] });
      expect(await tasks.search({ text: 'a' })).toEqual({ count: 0, items: [] });
      expect(await tasks.ready()).toEqual([]);
      expect(await tasks.retain({ taskDays: 1 })).toMatchObject({ tasks: 0 });
    }),
  { atomic: false },
);
