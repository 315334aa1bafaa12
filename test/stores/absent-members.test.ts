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
