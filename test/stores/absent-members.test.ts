/** A member that is `undefined` is as one that is not there, to the compiler (exactOptionalPropertyTypes) and to the stores. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { defineCollection, openStorage, type StorageManager } from '../../src/index.js';

let storage: StorageManager;
beforeAll(async () => {
  storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
});
afterAll(() => storage.close());

test('of conversations and messages', async () => {
  const { conversations } = storage;
  const id = randomUUID();
  const made = await conversations.ensureConversation(
    id,
    { title: undefined, sessionId: undefined, metadata: undefined },
    { idempotencyKey: undefined, triggeredById: undefined, signal: undefined, timeout: undefined },
  );
  expect(made).not.toHaveProperty('title');
  expect(await conversations.ensureConversation(id, { title: 'kept' })).toMatchObject({ title: 'kept' });
  const same = await conversations.ensureConversation(id, { title: undefined });
  expect(same).toMatchObject({ title: 'kept', version: 2 });
  const message = await conversations.addMessage(
    id,
    {
      content: 'x',
      role: undefined,
      clientMessageId: undefined,
      user: undefined,
      assets: [{ assetType: undefined, type: 'image', uri: undefined, metadata: undefined }],
      events: [{ eventType: undefined, type: 'seen', metadata: undefined }],
    },
    { rebind: undefined, idempotencyKey: undefined },
  );
  expect(message).toMatchObject({ role: 'assistant', assets: [{ assetType: 'image', metadata: {} }] });
  expect(message).not.toHaveProperty('clientMessageId');
  const edited = await conversations.editMessage(id, message.id, { content: 'y', status: undefined, extra: undefined });
  expect(edited).toMatchObject({ content: 'y', status: 'sent', extra: {} });
  const page = await conversations.listMessages(id, { limit: undefined, after: undefined, direction: undefined });
  expect(page.items).toHaveLength(1);
  expect(
    await conversations.listMessageEvents({ conversationId: id, messageId: undefined, after: undefined }),
  ).toHaveLength(3);
  for await (const { seq } of conversations.tail(id, { after: undefined, signal: undefined, interval: undefined })) {
    expect(seq).toBe(1);
    break;
  }
  const profile = { displayName: 'Ann', profile: undefined, documents: undefined, mergeDocuments: undefined };
  expect(await conversations.upsertUserProfile('ann', profile)).toMatchObject({ displayName: 'Ann', profile: {} });
});

test('of entries', async () => {
  const { kv } = storage;
  await kv.set('n', 'a', { theme: 'dark' }, { ttlSeconds: undefined });
  const entry = await kv.get<{ readonly theme: string }>('n', 'a', { signal: undefined });
  // The type is the caller's word for the JSON that is there.
  expect(entry.found && entry.value.theme).toBe('dark');
  const { value } = await kv.increment('n', 'b', { delta: undefined, min: undefined, ttlSeconds: undefined });
  expect(value + 1).toBe(2);
  const { ok } = await kv.compareAndSet('n', 'b', 5, { ifVersion: 1, ifAbsent: undefined, ifValue: undefined });
  expect(ok).toBe(true);
  const computed = await kv.getOrSet('n', 'c', async () => ({ count: 1 }), { ttlSeconds: undefined });
  expect(computed.value.count).toBe(1);
});

test('of messages of JSON, whose answers go by their actions', async () => {
  const Notes = defineCollection<{ text: string }>({ name: 'notes', id: 'given' });
  const handle = storage.messageHandler([Notes]);
  const saved = await handle({
    action: 'storage_save',
    collection: 'notes',
    id: 'n1',
    value: { text: 'x' },
    ifVersion: undefined,
    ttl: undefined,
    requestId: undefined,
  });
  expect(saved.success && saved.data.version).toBe(1);
  const listed = await handle({ action: 'storage_list', collection: 'notes', limit: undefined });
  expect(listed.success && listed.data.items.map(({ id }) => id)).toEqual(['n1']);
  // @ts-expect-error -- a member of another action
  const refused = await handle({ action: 'storage_get', collection: 'notes', id: 'n1', filter: {} });
  expect(refused.success).toBe(false);
});

test('of records: conditions that are undefined are none', async () => {
  const Counts = defineCollection<{ n: number; tags?: string[] }>({
    name: 'counts',
    fields: undefined,
    indexes: undefined,
    unique: undefined,
    text: undefined,
    id: undefined,
  });
  const counts = storage.collection(Counts, { on: undefined });
  const { id } = await counts.save({ n: 1 }, { id: undefined, ttl: undefined, ifVersion: undefined });
  await counts.replace(id, { n: 2 }, { ifVersion: undefined });
  const parts = { set: undefined, unset: undefined, push: undefined };
  const none = { if: undefined, ifVersion: undefined, orInsert: undefined };
  expect((await counts.patch(id, { ...parts, increment: { n: 1 } }, none)).value).toEqual({ n: 3 });
  await counts.increment(id, 'n', 1, { ifVersion: undefined });
  await counts.load([{ value: { n: 9 }, id: undefined, createdAt: undefined, expiresAt: undefined }], {
    onProgress: undefined,
  });
  expect(await counts.count()).toBe(2);
  await counts.delete(id, { ifVersion: undefined });
  expect(await counts.count()).toBe(1);
});

test('of tasks and jobs', async () => {
  const { tasks, jobs } = storage;
  const task = await tasks.create({ title: 'x', description: undefined, dueAt: undefined, metadata: undefined });
  const wanted = { status: undefined, ownerId: undefined, assigneeId: undefined, overdue: undefined, sort: undefined };
  expect((await tasks.list(wanted)).items).toHaveLength(1);
  await tasks.transition(task.id, 'ready', { ifVersion: undefined, reason: undefined });
  const job = await jobs.create(
    { name: 'j', description: undefined, status: undefined, retry: undefined },
    { idempotencyKey: undefined },
  );
  await jobs.enqueueRun(job.id, {
    runAt: undefined,
    payload: undefined,
    priority: undefined,
    idempotencyKey: undefined,
  });
  const options = { workerId: undefined, concurrency: undefined, leaseSeconds: undefined, poll: undefined };
  let done!: () => void;
  const finished = new Promise<void>((resolve) => (done = resolve));
  const worker = jobs.work(async () => done(), { ...options, onFailure: undefined });
  await finished;
  await worker.stop({ deadline: undefined });
});

test('of vectors', async () => {
  const vectors = storage.vectors();
  const spec = { metric: undefined, sparse: undefined, fields: undefined, index: undefined, text: undefined };
  await vectors.createCollection({ name: 'v', dimension: 1, ...spec });
  await vectors.upsert('v', [{ id: 'a', vector: [1], text: undefined, metadata: undefined }], {
    onProgress: undefined,
  });
  const hits = await vectors.search('v', { vector: [1], topK: undefined, text: undefined, id: undefined });
  expect(hits.map(({ id }) => id)).toEqual(['a']);
  expect((await vectors.list('v', { limit: undefined, after: undefined })).items).toHaveLength(1);
});

test('of settings, but for the databases, their URLs, and of what opens and closes', async () => {
  const settings = {
    databases: { main: { url: 'memory:', critical: undefined } },
    stores: undefined,
    vectors: undefined,
    health: undefined,
    lifecycle: undefined,
    kv: { maxValueBytes: undefined },
    tasks: undefined,
    retention: { interval: undefined, taskDays: undefined },
  };
  const other = await openStorage(settings, { environment: {}, file: undefined, directory: undefined });
  expect(other.settings.kv.maxValueBytes).toBe(storage.settings.kv.maxValueBytes);
  const step = { version: 1, name: 'one', up: async () => undefined, down: undefined, checksum: undefined };
  expect(await other.migrations([step], { on: undefined, tenant: undefined }).up({ to: undefined })).toBeDefined();
  const handlers = { topic: async () => undefined };
  await other.outbox.relay({ handlers, onFailure: undefined, onError: undefined }).stop({ deadline: undefined });
  await other.close({ deadline: undefined });
  const wrong: (() => unknown)[] = [
    // @ts-expect-error the embedded database in place of the one that is meant
    () => openStorage({ databases: undefined }),
    // @ts-expect-error the same
    () => openStorage({ databases: { main: undefined } }),
  ];
  expect(wrong).toHaveLength(2);
});
