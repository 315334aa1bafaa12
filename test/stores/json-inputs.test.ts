/** A host's interface has no index signature: where JSON objects are taken it fits all the same. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { openStorage, type StorageManager } from '../../src/index.js';

interface Meta {
  source: string;
  page?: number;
}
interface Database {
  url: string;
}
const meta: Meta = { source: 'mail', page: 2 };

let storage: StorageManager;
beforeAll(async () => {
  const main: Database = { url: 'memory:' };
  storage = await openStorage({ databases: { main } }, { environment: {} });
});
afterAll(() => storage.close());

test('of tasks and their events', async () => {
  const task = await storage.tasks.create({ title: 'x', metadata: meta });
  expect(task.metadata).toEqual(meta);
  const event = await storage.tasks.recordEvent(task.id, { eventType: 'host_seen', payload: meta });
  expect(event.payload).toEqual(meta);
});

test('of jobs and runs', async () => {
  const job = await storage.jobs.create({ name: 'j', metadata: meta });
  expect(job.metadata).toEqual(meta);
  const run = await storage.jobs.enqueueRun(job.id, { payload: meta, metadata: meta });
  expect([run.payload, run.metadata]).toEqual([meta, meta]);
});

test('of conversations, messages and people', async () => {
  const { conversations } = storage;
  const id = randomUUID();
  expect((await conversations.ensureConversation(id, { metadata: meta })).metadata).toEqual(meta);
  const message = await conversations.addMessage(id, { content: meta, metadata: meta, extra: meta });
  expect([message.content, message.metadata, message.extra]).toEqual([meta, meta, meta]);
  const edited = await conversations.editMessage(id, message.id, { content: meta, extra: meta });
  expect(edited.content).toEqual(meta);
  expect((await conversations.listMessages(id, { metadata: meta })).items).toHaveLength(1);
  const profile = await conversations.upsertUserProfile('ann', { profile: meta, documents: meta });
  expect([profile.profile, profile.documents]).toEqual([meta, meta]);
});

test('what is no JSON object is refused when it is given', async () => {
  const refused = { code: 'VALIDATION' };
  await expect(storage.tasks.create({ title: 'x', metadata: [1] })).rejects.toMatchObject(refused);
  await expect(storage.tasks.create({ title: 'x', metadata: new Map() })).rejects.toMatchObject(refused);
  const id = randomUUID();
  await expect(storage.conversations.addMessage(id, { content: new Map() })).rejects.toMatchObject(refused);
  await expect(storage.conversations.addMessage(id, { content: 'x', extra: [1] })).rejects.toMatchObject(refused);
});
