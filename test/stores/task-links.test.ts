/** People and parts of tasks, and what goes when a task is deleted or was kept long enough. */
import { expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { Task, TaskStore } from '../../src/index.js';
import { describeTasks, refused } from '../support/task-storage.js';

const typesOf = async (store: TaskStore, id: string): Promise<string[]> =>
  (await store.listEvents(id)).map(({ type }) => type);

describeTasks('task assignments', (made) => {
  test('are asked for, answered and completed', async () => {
    const { tasks } = made.tenant();
    const { id, tenantId } = await tasks.create({ title: 'a' });
    const [ann, bob] = [randomUUID(), randomUUID()];
    const asked = await tasks.assign(id, ann, { metadata: { by: 'mail' } });
    expect(asked).toMatchObject({ taskId: id, assigneeId: ann, role: 'participant', status: 'pending', version: 1 });
    expect(await tasks.assign(id, ann)).toEqual(asked);
    await tasks.assign(id, ann, { role: 'reviewer' });
    await tasks.assign(id, bob);
    expect((await tasks.get(id)).assigneeIds).toEqual([ann, bob]);
    await refused(tasks.completeAssignment(id, ann), 'INVALID_TRANSITION');
    expect(await tasks.respond(id, ann, 'accepted')).toMatchObject({ status: 'accepted', version: 2 });
    expect(await tasks.respond(id, ann, 'accepted')).toMatchObject({ version: 2 });
    expect(await tasks.completeAssignment(id, ann)).toMatchObject({ status: 'completed' });
    expect(await refused(tasks.respond(id, ann, 'declined'), 'INVALID_TRANSITION')).toMatchObject({
      from: 'completed',
      to: 'declined',
      allowed: [],
    });
    expect(await tasks.respond(id, bob, 'declined')).toMatchObject({ status: 'declined' });
    expect(await refused(tasks.respond(id, bob, 'accepted'), 'INVALID_TRANSITION')).toMatchObject({
      from: 'declined',
      to: 'accepted',
      allowed: [],
    });
    await refused(tasks.completeAssignment(id, bob), 'INVALID_TRANSITION');
    const role = { role: 'reviewer' };
    await tasks.respond(id, ann, 'accepted', role);
    expect(await tasks.respond(id, ann, 'declined', role)).toMatchObject({ status: 'declined', version: 3 });
    await refused(tasks.respond(id, randomUUID(), 'declined'), 'NOT_FOUND');
    await refused(tasks.assign(randomUUID(), ann), 'NOT_FOUND');
    const roles = async (options: Parameters<TaskStore['listAssignments']>[0]) =>
      (await tasks.listAssignments(options)).items.map(({ role, status }) => `${role} ${status}`).sort();
    expect(await roles({ taskId: id, assigneeId: ann })).toEqual(['participant completed', 'reviewer declined']);
    expect(await roles({ assigneeId: bob })).toEqual(['participant declined']);
    expect(await roles({ status: 'completed' })).toEqual(['participant completed']);
    expect(await roles({ status: 'pending' })).toEqual([]);
    const told = (await tasks.listEvents(id)).filter(({ type }) => type === 'task.assignment');
    const common = { taskId: id, tenantId, role: 'participant' };
    expect(told.map(({ payload }) => payload)).toEqual([
      { ...common, assigneeId: ann, to: 'pending' },
      { ...common, assigneeId: ann, role: 'reviewer', to: 'pending' },
      { ...common, assigneeId: bob, to: 'pending' },
      { ...common, assigneeId: ann, from: 'pending', to: 'accepted' },
      { ...common, assigneeId: ann, from: 'accepted', to: 'completed' },
      { ...common, assigneeId: bob, from: 'pending', to: 'declined' },
      { ...common, assigneeId: ann, ...role, from: 'pending', to: 'accepted' },
      { ...common, assigneeId: ann, ...role, from: 'accepted', to: 'declined' },
    ]);
  });

  test('are of a role of 64 characters of any script', async () => {
    const { tasks } = made.tenant();
    const { id } = await tasks.create({ title: 'a' });
    const ann = randomUUID();
    // The last two differ in the last character alone, and with the ids are longer than an id.
    const roles = ['ж'.repeat(64), '🦉'.repeat(64), `${'🦉'.repeat(63)}🦊`];
    for (const role of roles) await tasks.assign(id, ann, { role });
    for (const role of roles) expect(await tasks.assign(id, ann, { role })).toMatchObject({ role, version: 1 });
    expect(await tasks.respond(id, ann, 'accepted', { role: roles[1] })).toMatchObject({ role: roles[1], version: 2 });
    expect(await tasks.completeAssignment(id, ann, { role: roles[1] })).toMatchObject({ status: 'completed' });
    await refused(tasks.completeAssignment(id, ann, { role: roles[2] }), 'INVALID_TRANSITION');
    const { items } = await tasks.listAssignments({ taskId: id });
    expect(new Set(items.map((one) => one.id)).size).toBe(3);
    expect(items.map(({ role }) => role).sort()).toEqual([...roles].sort());
    // As it has always been of what fits.
    expect(items.map((one) => one.id)).toContain(`${id}:${ann}:${roles[0]}`);
    await tasks.delete(id);
    expect((await tasks.listAssignments({ taskId: id })).items).toEqual([]);
  });

  test('are answered once, however many ask', async () => {
    const { tasks } = made.tenant();
    const { id } = await tasks.create({ title: 'a' });
    const ann = randomUUID();
    await Promise.all(Array.from({ length: 8 }, () => tasks.assign(id, ann)));
    expect((await tasks.listAssignments({ taskId: id })).items).toHaveLength(1);
    await Promise.allSettled(Array.from({ length: 8 }, () => tasks.respond(id, ann, 'accepted')));
    const types = await typesOf(tasks, id);
    expect(types.filter((type) => type === 'task.assignment')).toHaveLength(2);
  });
});

describeTasks('subtasks', (made) => {
  test('are never above themselves', async () => {
    const { tasks } = made.tenant();
    const a = await tasks.create({ title: 'a' });
    const b = await tasks.create({ title: 'b', parentTaskId: a.id });
    const c = await tasks.create({ title: 'c', parentTaskId: b.id });
    expect(await refused(tasks.update(a.id, { parentTaskId: c.id }), 'DEPENDENCY_CYCLE')).toEqual({
      path: [a.id, c.id, b.id, a.id],
    });
    await refused(tasks.update(a.id, { parentTaskId: a.id }), 'DEPENDENCY_CYCLE');
    await refused(tasks.update(a.id, { parentTaskId: randomUUID() }), 'VALIDATION');
    await refused(tasks.create({ title: 'd', parentTaskId: randomUUID() }), 'VALIDATION');
    await refused(made.tenant().tasks.create({ title: 'd', parentTaskId: a.id }), 'VALIDATION');
    expect(await tasks.update(c.id, { parentTaskId: null })).not.toHaveProperty('parentTaskId');
    const both = await Promise.allSettled([
      tasks.update(c.id, { parentTaskId: b.id }),
      tasks.update(a.id, { parentTaskId: c.id }),
    ]);
    expect(both.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  test('are made many at once, and keep their parent', async () => {
    const { tasks } = made.tenant();
    const parent = await tasks.create({ title: 'parent' });
    const [, ...results] = await Promise.allSettled([
      ...Array.from({ length: 20 }, (_, i) => tasks.create({ title: `${i}`, parentTaskId: parent.id })),
      tasks.delete(parent.id),
    ]);
    const gone = results.at(-1)!.status === 'fulfilled';
    const { count } = await tasks.search();
    const { items } = await tasks.listSubtasks(parent.id);
    if (gone) expect([count, items.length]).toEqual([0, 0]);
    else expect([count, items.length]).toEqual([21, 20]);
  });
});

describeTasks('task deletion', (made) => {
  test('takes what hangs on the task, and tells', async () => {
    const { tasks } = made.tenant();
    const [a, b, c] = await Promise.all(['a', 'b', 'c'].map((title) => tasks.create({ title })));
    await tasks.addDependency(b!.id, a!.id);
    await tasks.addDependency(a!.id, c!.id);
    await tasks.assign(a!.id, randomUUID());
    await tasks.comment(a!.id, { text: 'x' });
    await refused(tasks.delete(a!.id, { ifVersion: 1 }), 'CONFLICT');
    await tasks.delete(a!.id, { triggeredById: 'ann' });
    await refused(tasks.get(a!.id), 'NOT_FOUND');
    await refused(tasks.delete(a!.id), 'NOT_FOUND');
    expect((await tasks.listDependencies(b!.id)).items).toEqual([]);
    expect((await tasks.listDependents(c!.id)).items).toEqual([]);
    expect((await tasks.listAssignments()).items).toEqual([]);
    expect(await tasks.listEvents(a!.id)).toMatchObject([
      { type: 'task.deleted', triggeredById: 'ann', payload: { taskId: a!.id, status: 'draft' } },
    ]);
    made.wait(31);
    expect(await tasks.listEvents(a!.id)).toEqual([]);
  });

  test('spares open subtasks, unless told', async () => {
    const { tasks } = made.tenant();
    const parent = await tasks.create({ title: 'parent' });
    const open = await tasks.create({ title: 'open', parentTaskId: parent.id });
    const ended = await tasks.create({ title: 'ended', parentTaskId: parent.id, status: 'done' });
    const deep = await tasks.create({ title: 'deep', parentTaskId: open.id });
    expect(await refused(tasks.delete(parent.id), 'CONFLICT')).toMatchObject({ reason: 'subtasks', ids: [open.id] });
    await tasks.update(open.id, { parentTaskId: null });
    await tasks.delete(parent.id);
    expect(await tasks.get(ended.id)).not.toHaveProperty('parentTaskId');
    expect(await typesOf(tasks, ended.id)).toEqual(['task.created', 'task.updated']);
    await tasks.delete(open.id, { cascade: true });
    expect((await tasks.list()).items.map(({ id }) => id)).toEqual([ended.id]);
    expect(await typesOf(tasks, deep.id)).toEqual(['task.deleted']);
  });

  test('takes more than a batch does', async () => {
    const { tasks } = made.tenant();
    const parent = await tasks.create({ title: 'parent' });
    const subtasks: Task[] = [];
    // Ten lines of descent, so that those who are made at once have parents of their own.
    for (let i = 0; i < 340; i += 10) {
      const parents = Array.from({ length: 10 }, (_, line) => subtasks[i - 10 + line] ?? parent);
      const some = parents.map(({ id }) => tasks.create({ title: 'part', parentTaskId: id }));
      subtasks.push(...(await Promise.all(some)));
    }
    await tasks.addDependency(subtasks[0]!.id, subtasks[1]!.id);
    await tasks.delete(parent.id, { cascade: true });
    expect((await tasks.search()).count).toBe(0);
    expect((await tasks.listDependencies(subtasks[0]!.id)).items).toEqual([]);
    expect(await typesOf(tasks, subtasks[7]!.id)).toEqual(['task.deleted']);
  });
});

describeTasks('task retention', (made) => {
  test('deletes what ended long ago, and what hangs on it', async () => {
    const { tasks } = made.tenant();
    const other = made.tenant().tasks;
    const old = await Promise.all(
      Array.from({ length: 60 }, (_, i) => tasks.create({ title: 'old', status: i % 2 ? 'done' : 'cancelled' })),
    );
    const kept = await other.create({ title: 'kept', status: 'done' });
    const open = await tasks.create({ title: 'open' });
    await tasks.addDependency(open.id, old[0]!.id);
    await tasks.assign(old[0]!.id, randomUUID());
    // A parent waits for its subtasks, whichever is the older.
    const parent = await tasks.create({ title: 'parent', status: 'done' });
    const child = await tasks.create({ title: 'child', status: 'done', parentTaskId: parent.id });
    const waiting = await tasks.create({ title: 'waiting', status: 'done' });
    await tasks.create({ title: 'part', parentTaskId: waiting.id });
    expect(await tasks.retain({ taskDays: 10 })).toMatchObject({ tasks: 0 });
    made.wait(11);
    const young = await tasks.create({ title: 'young', status: 'done' });
    expect(await tasks.retain({})).toEqual({ tasks: 0, dependencies: 0, assignments: 0, events: 0, jobLinks: 0 });
    const counts = { tasks: 62, dependencies: 1, assignments: 1, events: 63, jobLinks: 0 };
    expect(await tasks.retain({ taskDays: 10 }, { dryRun: true })).toEqual(counts);
    expect((await tasks.search()).count).toBe(66);
    expect(await tasks.retain({ taskDays: 10 })).toEqual(counts);
    expect(await tasks.retain({ taskDays: 10 })).toMatchObject({ tasks: 0 });
    const left = (await tasks.search()).items.map(({ title }) => title);
    expect(left).toEqual(['young', 'part', 'waiting', 'open']);
    expect(await tasks.dependencyStatuses(open.id)).toEqual([]);
    expect(await typesOf(tasks, child.id)).toEqual(['task.deleted']);
    expect(await tasks.get(young.id)).toMatchObject({ title: 'young' });
    expect(await other.get(kept.id)).toMatchObject({ title: 'kept' });
  });

  test('goes through a task with more events than a step takes', async () => {
    const { tasks } = made.tenant();
    const { id } = await tasks.create({ title: 'a' });
    const call = { eventType: 'said' };
    for (let i = 0; i < 510; i++) await tasks.recordEvent(id, call);
    await tasks.transition(id, 'cancelled');
    made.wait(2);
    expect(await tasks.retain({ taskDays: 1 })).toEqual({
      tasks: 1,
      dependencies: 0,
      assignments: 0,
      events: 512,
      jobLinks: 0,
    });
    expect(await typesOf(tasks, id)).toEqual(['task.deleted']);
  });

  test('takes a task with its history, or leaves both', async () => {
    const { tasks } = made.tenant();
    const { id } = await tasks.create({ title: 'a' });
    const events = tasks['records'](tasks['definition'].events);
    const said = { aggregateId: id, type: 'task.said', payload: {} };
    // Of versions that it does not come to here.
    const seqs = Array.from({ length: 3_000 }, (_, i) => 10_000 + i);
    for (let i = 0; i < seqs.length; i += 1_000)
      await events.saveMany(seqs.slice(i, i + 1_000).map((seq) => ({ id: `${id}:${seq}`, value: { ...said, seq } })));
    await tasks.transition(id, 'cancelled');
    made.wait(2);
    let isOver = false;
    const retained = tasks.retain({ taskDays: 1 }).finally(() => (isOver = true));
    for (let isWhole = true; isWhole && !isOver; await setImmediate())
      isWhole = (await tasks.listEvents(id, { limit: 1 }))[0]?.type === 'task.created';
    // Whoever sees that some of it is gone finds no task that could be changed, and so be kept.
    await refused(tasks.comment(id, { text: 'needed still' }), 'NOT_FOUND');
    expect(await retained).toMatchObject({ tasks: 1, events: 3_002 });
    expect(await typesOf(tasks, id)).toEqual(['task.deleted']);
  });
});
