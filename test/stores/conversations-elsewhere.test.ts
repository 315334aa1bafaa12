/** Vectors of messages on another database than the messages: they follow the commit. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { openStorage, type ConversationStore, type StorageManager, type TenantStorage } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';

for (const target of storageTargets('conversations: vectors elsewhere').filter(({ transactions }) => transactions))
  describe(`vectors elsewhere, messages on ${target.name}`, () => {
    let storage: StorageManager;
    let drop: () => Promise<void>;
    beforeAll(async () => {
      const prepared = await target.prepare();
      drop = prepared.drop;
      const vectors = { default: 'memory', memory: { database: 'side' } };
      storage = await openStorage({ databases: { main: prepared.url, side: 'memory:' }, vectors }, { environment: {} });
    });
    afterAll(async () => {
      await storage.close();
      await drop();
    });

    /** A conversation of two messages, each with a vector. */
    async function embedded(): Promise<{ tenant: TenantStorage; store: ConversationStore; id: string; ids: string[] }> {
      const tenant = storage.tenant(randomUUID());
      const store = tenant.conversations;
      const id = randomUUID();
      const ids: string[] = [];
      for (const embedding of [
        [1, 0],
        [0, 1],
      ]) {
        const message = await store.addMessage(id, { content: 'x' });
        await store.upsertMessageVectors(message.id, [{ embedding, model: 'm' }]);
        ids.push(message.id);
      }
      return { tenant, store, id, ids };
    }
    const left = async (store: ConversationStore, conversationId: string): Promise<string[]> =>
      (await store.listMessageVectors({ conversationId })).map(({ messageId }) => messageId);

    test('they are found, by the tenant they are of', async () => {
      const { store, id, ids } = await embedded();
      const found = await store.search({ vector: [1, 0.1] });
      expect(found.items.map(({ message }) => message.id)).toEqual(ids);
      expect(await left(store, id)).toEqual(ids);
      const other = storage.tenant(randomUUID()).conversations;
      expect(await left(other, id)).toEqual([]);
      expect(await other.search({ vector: [1, 0.1] })).toEqual({ count: 0, items: [] });
    });

    test('they go with their message, a reset and their conversation', async () => {
      const { store, id, ids } = await embedded();
      await store.purgeMessage(id, ids[0]!);
      expect(await left(store, id)).toEqual([ids[1]]);
      await store.resetConversation(id);
      expect(await left(store, id)).toEqual([]);
      const other = await embedded();
      await other.store.deleteConversation(other.id);
      expect(await left(other.store, other.id)).toEqual([]);
    });

    test('a transaction cannot write them, and they stay when it rolls back', async () => {
      const { tenant, store, id, ids } = await embedded();
      const work = tenant.transaction(async (tx) => {
        await expect(tx.conversations.upsertMessageVectors(ids[0]!, [{ embedding: [1, 1] }])).rejects.toMatchObject({
          code: 'UNSUPPORTED',
        });
        throw new Error('no');
      });
      await expect(work).rejects.toThrow('no');
      const purge = tenant.transaction(async (tx) => {
        expect(await tx.conversations.deleteConversation(id)).toBe(true);
        throw new Error('no');
      });
      await expect(purge).rejects.toThrow('no');
      expect(await left(store, id)).toEqual(ids);
      expect((await store.listMessages(id)).items).toHaveLength(2);
      await tenant.transaction(async (tx) => {
        await tx.conversations.deleteConversation(id);
        expect(await left(store, id)).toEqual(ids);
      });
      expect(await left(store, id)).toEqual([]);
    });
  });
