/** What goes with a conversation, a task or a job of another store: on one database at once, elsewhere not at all. */
import { describe, expect, jest, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { openStorage, type StorageManager } from '../../src/index.js';
import { databaseOf } from '../support/open-parts.js';
import { storageTargets } from '../support/storage-targets.js';
import { describeTasks, refused } from '../support/task-storage.js';

describeTasks('tasks beside other stores', (made) => {
  test('name a conversation no more when it is deleted, and only that one', async () => {
    const [{ tasks, conversations }, other] = [made.tenant(), made.tenant()];
    const [gone, kept] = [randomUUID(), randomUUID()];
    for (const id of [gone, kept]) await conversations.ensureConversation(id);
    await other.conversations.ensureConversation(gone);
    const theirs = await other.tasks.create({ title: 'theirs', conversationId: gone });
    const one = await tasks.create({ title: 'one', conversationId: gone });
    const two = await tasks.create({ title: 'two', conversationId: kept });
    await conversations.resetConversation(gone);
    expect(await tasks.get(one.id)).toMatchObject({ conversationId: gone, version: 1 });
    await conversations.deleteConversation(gone);
    expect(await tasks.get(one.id)).not.toHaveProperty('conversationId');
    expect(await tasks.get(one.id)).toMatchObject({ title: 'one', version: 2 });
    expect(await tasks.get(two.id)).toMatchObject({ conversationId: kept, version: 1 });
    expect(await other.tasks.get(theirs.id)).toMatchObject({ conversationId: gone, version: 1 });
    expect((await tasks.list({ conversationId: gone })).items).toEqual([]);
    await tasks.update(one.id, { title: 'changed' }, { ifVersion: 2 });
  });

  test('and jobs too', async () => {
    const [{ jobs, conversations }, other] = [made.tenant(), made.tenant()];
    const [gone, kept] = [randomUUID(), randomUUID()];
    for (const id of [gone, kept]) await conversations.ensureConversation(id);
    await other.conversations.ensureConversation(gone);
    const named = async (on: typeof jobs, conversationId: string): Promise<string> =>
      (await on.create({ name: `of ${conversationId}`, conversationId })).id;
    const ids = [await named(jobs, gone), await named(jobs, kept), await named(other.jobs, gone)] as const;
    await conversations.resetConversation(gone);
    expect(await jobs.get(ids[0])).toMatchObject({ conversationId: gone });
    await conversations.deleteConversation(gone);
    expect(await jobs.get(ids[0])).not.toHaveProperty('conversationId');
    expect(await jobs.get(ids[1])).toMatchObject({ conversationId: kept });
    expect(await other.jobs.get(ids[2])).toMatchObject({ conversationId: gone });
  });

  test('name none that is not there, and none of another tenant', async () => {
    const [{ tasks, conversations }, other] = [made.tenant(), made.tenant()];
    const theirs = randomUUID();
    await other.conversations.ensureConversation(theirs);
    for (const conversationId of [randomUUID(), theirs])
      expect(await refused(tasks.create({ title: 'a', conversationId }), 'VALIDATION')).toMatchObject({
        key: 'task.conversationId',
      });
    expect((await tasks.search()).count).toBe(0);
    await conversations.ensureConversation(theirs);
    expect(await tasks.create({ title: 'a', conversationId: theirs })).toMatchObject({ conversationId: theirs });
  });

  test('name it still when its deletion is rolled back', async () => {
    const tenant = made.tenant();
    const id = randomUUID();
    await tenant.conversations.ensureConversation(id);
    const task = await tenant.tasks.create({ title: 'a', conversationId: id });
    const work = tenant.transaction(async (tx) => {
      await tx.conversations.deleteConversation(id);
      expect(await tx.tasks.get(task.id)).not.toHaveProperty('conversationId');
      throw new Error('no');
    });
    await expect(work).rejects.toThrow('no');
    expect(await tenant.tasks.get(task.id)).toMatchObject({ conversationId: id, version: 1 });
  });

  test('are listed by their job, and take their links along', async () => {
    const [{ tasks, jobs }, other] = [made.tenant(), made.tenant()];
    const job = await jobs.create({ name: 'job' });
    const second = await jobs.create({ name: 'second' });
    const created = await Promise.all(['a', 'b', 'c', 'd'].map((title) => tasks.create({ title })));
    const [a, b, c, d] = created.map(({ id }) => id) as [string, string, string, string];
    for (const id of [a, b, c]) await jobs.linkTask(job.id, id);
    await jobs.linkTask(second.id, a);
    const listed = async (jobId: string): Promise<string[]> =>
      (await tasks.list({ jobId, order: 'asc' })).items.map(({ id }) => id);
    expect(await listed(job.id)).toEqual([a, b, c].sort());
    expect(await listed(second.id)).toEqual([a]);
    expect(await listed(randomUUID())).toEqual([]);
    expect((await other.tasks.list({ jobId: job.id })).items).toEqual([]);
    expect((await tasks.list({ jobId: job.id, status: 'done' })).items).toEqual([]);
    const first = await tasks.list({ jobId: job.id, limit: 2 });
    expect((await tasks.list({ jobId: job.id, limit: 2, after: first.next! })).items).toHaveLength(1);
    expect(await refused(tasks.list({ jobId: 'x' }), 'VALIDATION')).toMatchObject({ key: 'options.jobId' });
    const find = jest.spyOn(databaseOf(made.storage).backend, 'find');
    const bad = { jobId: job.id, after: 'x' };
    for (const options of [bad, { ...bad, overdue: true }, { ...bad, overdue: true, after: '1.x' }])
      await refused(tasks.list(options), 'INVALID_CURSOR');
    expect(find).not.toHaveBeenCalled();
    await tasks.list({ jobId: job.id });
    expect(find).toHaveBeenCalled();
    find.mockRestore();
    await refused(other.tasks.delete(a), 'NOT_FOUND');
    await tasks.delete(a);
    expect((await jobs.listLinkedTasks(job.id)).map(({ taskId }) => taskId)).toEqual([b, c]);
    expect(await jobs.listLinkedTasks(second.id)).toEqual([]);
    await tasks.transition(b, 'cancelled');
    made.wait(2);
    await tasks.update(c, { title: 'young' });
    const counts = { tasks: 1, dependencies: 0, assignments: 0, events: 2, jobLinks: 1 };
    expect(await tasks.retain({ taskDays: 1 }, { dryRun: true })).toEqual(counts);
    expect(await tasks.retain({ taskDays: 1 })).toEqual(counts);
    expect((await jobs.listLinkedTasks(job.id)).map(({ taskId }) => taskId)).toEqual([c]);
    expect(await tasks.get(d)).toMatchObject({ title: 'd' });
  });
});

describe('tasks on another database', () => {
  const opened = (): Promise<StorageManager> =>
    openStorage(
      { databases: { main: 'memory:', side: 'memory:' }, stores: { default: 'main', tasks: 'side' } },
      { environment: {} },
    );

  test('keep what they name, and leave their links', async () => {
    await using storage = await opened();
    const { tasks, conversations, jobs } = storage;
    const id = randomUUID();
    await conversations.ensureConversation(id);
    const task = await tasks.create({ title: 'a', conversationId: id });
    const job = await jobs.create({ name: 'job' });
    await jobs.linkTask(job.id, task.id);
    expect((await tasks.list({ jobId: job.id })).items).toHaveLength(1);
    await conversations.deleteConversation(id);
    expect(await tasks.get(task.id)).toMatchObject({ conversationId: id, version: 1 });
    await tasks.delete(task.id);
    const links = await jobs.listLinkedTasks(job.id);
    expect(links).toMatchObject([{ taskId: task.id }]);
    expect(links[0]).not.toHaveProperty('task');
    expect(await jobs.dependenciesComplete(job.id)).toBe(true);
  });
});

for (const target of storageTargets('tasks on a database of two names').filter(
  ({ server, transactions }) => server && transactions,
))
  test(`tasks on a database of two names go with what they name on ${target.name}`, async () => {
    const { url, drop } = await target.prepare();
    const databases = { main: { url, ...target.patient }, side: { url, ...target.patient } };
    const storage = await openStorage({ databases, stores: { default: 'main', tasks: 'side' } }, { environment: {} });
    try {
      const { tasks, conversations, jobs } = storage;
      const id = randomUUID();
      await conversations.ensureConversation(id);
      const task = await tasks.create({ title: 'a', conversationId: id });
      const job = await jobs.create({ name: 'job' });
      await jobs.linkTask(job.id, task.id);
      await conversations.deleteConversation(id);
      expect(await tasks.get(task.id)).not.toHaveProperty('conversationId');
      await tasks.delete(task.id);
      expect(await jobs.listLinkedTasks(job.id)).toEqual([]);
    } finally {
      await storage.close();
      await drop();
    }
  });
