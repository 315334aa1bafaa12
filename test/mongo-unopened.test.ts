/** A MongoDB that is not there when a service starts: what it can do is not known, and nothing is refused as if it were. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createServer } from 'node:net';
import { defineCollection, openStorage, type StorageManager } from '../src/index.js';

const Orders = defineCollection<{ total: number }>({ name: 'orders', fields: { total: 'number' } });
const Notes = defineCollection<{ text: string }>({ name: 'notes', fields: { text: 'string' } });
const UNAVAILABLE = { code: 'UNAVAILABLE', retryable: true };

describe('a database of MongoDB that was never reached', () => {
  let storage: StorageManager;

  beforeAll(async () => {
    storage = await openStorage(
      {
        databases: {
          main: 'memory:',
          chats: {
            url: `mongodb://127.0.0.1:${await freePort()}/chats`,
            critical: false,
            pool: { connectTimeout: 200 },
          },
        },
        stores: { conversations: 'chats', kv: 'chats' },
      },
      { environment: {} },
    );
  });
  afterAll(() => storage.close());

  test('refuses what the server may well be able to do as not available, and to be tried again', async () => {
    const conversationId = '018f0000-0000-7000-8000-000000000001';
    const { conversations, kv } = storage;
    await expect(conversations.addMessage(conversationId, { role: 'user', content: 'hello' })).rejects.toMatchObject(
      UNAVAILABLE,
    );
    await expect(conversations.deleteConversation(conversationId)).rejects.toMatchObject(UNAVAILABLE);
    await expect(kv.set('flags', 'beta', true)).rejects.toMatchObject(UNAVAILABLE);
    await expect(storage.collection(Notes, { on: 'chats' }).save({ text: 'a' })).rejects.toMatchObject(UNAVAILABLE);
    await expect(storage.transaction(async () => 1, { on: 'chats' })).rejects.toMatchObject(UNAVAILABLE);
  });

  test('takes what a transaction elsewhere leaves to be delivered to it', async () => {
    const { id } = await storage.transaction(async (tx) => {
      await tx.deliver.conversations.addMessage('018f0000-0000-7000-8000-000000000002', { content: 'hello' });
      await tx.deliver.collection(Notes, { on: 'chats' }).save({ text: 'a' });
      return tx.collection(Orders).save({ total: 1 });
    });
    expect((await storage.collection(Orders).get(id)).value).toEqual({ total: 1 });
    expect((await storage.outbox.backlog()).waiting).toBe(2);
  });
});

/** Where nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
