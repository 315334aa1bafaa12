/** Tasks that have more bytes together than one batch takes. */
import { expect, test } from '@jest/globals';
import { TASKS } from '../../src/adapters/tasks/records.js';
import type { Task, TaskStore } from '../../src/index.js';
import { describeTasks, refused } from '../support/task-storage.js';

const METADATA = { text: 'x'.repeat(900_000) };

describeTasks('large tasks', (made) => {
  const large = async (store: TaskStore, count: number, task: object): Promise<Task[]> => {
    const tasks: Task[] = [];
    for (let i = 0; i < count; i++) tasks.push(await store.create({ title: 'large', metadata: METADATA, ...task }));
    return tasks;
  };

  test('go from status to status together, all of them or none', async () => {
    const store = made.tenant().tasks;
    const tasks = await large(store, 11, {});
    const ids = tasks.map(({ id }) => id);
    const last = { id: ids[10]!, status: 'ready' as const, ifVersion: 2 };
    const ready = ids.map((id) => ({ id, status: 'ready' as const }));
    await refused(store.transitionMany([...ready.slice(0, 10), last]), 'CONFLICT');
    for (const id of ids) expect(await store.get(id)).toMatchObject({ status: 'draft', version: 1 });
    const changed = await store.transitionMany(ready);
    expect(changed.map(({ status, version }) => [status, version])).toEqual(ids.map(() => ['ready', 2]));
    for (const { events: _, ...task } of changed) expect(await store.get(task.id)).toEqual(task);
  });

  test('stay when their parent is deleted', async () => {
    const store = made.tenant().tasks;
    const parent = await store.create({ title: 'parent' });
    const tasks = await large(store, 10, { status: 'done', parentTaskId: parent.id });
    await store.delete(parent.id);
    await refused(store.get(parent.id), 'NOT_FOUND');
    for (const { id } of tasks) {
      const { parentTaskId, ...left } = await store.get(id);
      expect(parentTaskId).toBeUndefined();
      expect(left).toMatchObject({ status: 'done', version: 2, metadata: METADATA });
      expect((await store.listEvents(id)).at(-1)).toMatchObject({ payload: { changes: { parentTaskId: null } } });
    }
  });

  test('have room for all that is written to them later', async () => {
    const store = made.tenant().tasks;
    const most = 1_048_576;
    const padded = (bytes: number): object => ({ text: 'x'.repeat(bytes) });
    const full = { title: 'full', metadata: padded(most - 500) };
    expect(await refused(store.create(full), 'VALIDATION')).toMatchObject({
      key: 'task',
      maxBytes: most - 65_536 + '[]'.length,
    });
    const { id } = await store.create({ title: 'a', metadata: padded(most - 65_536 - 500) });
    await refused(store.update(id, { metadata: full.metadata }), 'VALIDATION');
    await store.assign(id, '01890000-0000-7000-8000-000000000001');
    expect(await store.transition(id, 'cancelled')).toMatchObject({ status: 'cancelled' });
  });

  test('of an earlier version, which have less room, are changed where they do not grow', async () => {
    const store = made.tenant().tasks;
    const { id } = await store.create({ title: 'old' });
    await store['records'](TASKS).patch(id, { set: { metadata: { text: 'x'.repeat(1_000_000) } } });
    const grown = await refused(store.update(id, { title: 'older' }), 'VALIDATION');
    expect(grown).toMatchObject({ key: 'task', maxBytes: 1_048_576 - 65_536 + '[]'.length });
    expect(await store.update(id, { title: 'new', priority: 9 })).toMatchObject({ title: 'new', priority: 9 });
    await store.update(id, { metadata: { text: 'x'.repeat(990_000) } });
    expect(await store.update(id, { metadata: {} })).toMatchObject({ version: 5 });
  });
});
