/** What was there before: a conversation that is deleted and made again, a key that comes again, vectors of what is purged. */
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { openStorage, type ConversationStore, type StorageManager, type StoreEvent } from '../../src/index.js';
import { VectorStore } from '../../src/vectors/vector-store.js';
import { databaseOf } from '../support/open-parts.js';
import { storageTargets } from '../support/storage-targets.js';

/** The first `count` of them. */
async function take<T>(source: AsyncIterable<T>, count: number): Promise<T[]> {
  const taken: T[] = [];
  if (count > 0) for await (const item of source) if (taken.push(item) === count) break;
  return taken;
}

for (const target of storageTargets('conversations: remade').filter(({ transactions }) => transactions))
  describe(`conversations that are made again on ${target.name}`, () => {
    let storage: StorageManager;
    let drop: () => Promise<void>;
    beforeAll(async () => {
      const prepared = await target.prepare();
      drop = prepared.drop;
      const databases = { main: prepared.url, side: 'memory:' };
      const vectors = { default: 'memory', memory: { database: 'side' } };
      storage = await openStorage({ databases, vectors }, { environment: {} });
    });
    afterEach(() => void jest.restoreAllMocks());
    afterAll(async () => {
      await storage.close();
      await drop();
    });
    const fresh = (): ConversationStore => storage.tenant(randomUUID()).conversations;

    test('a running tail goes on with the messages of one made again, and so does an old place', async () => {
      const store = fresh();
      const id = randomUUID();
      const tail = store.tail(id, { interval: 20 });
      for (const content of ['a', 'b', 'c']) await store.addMessage(id, { content });
      expect((await take({ [Symbol.asyncIterator]: () => ({ next: () => tail.next() }) }, 3)).length).toBe(3);
      await store.deleteConversation(id);
      await store.addMessage(id, { content: 'd' });
      expect((await tail.next()).value).toMatchObject({ content: 'd', seq: 4 });
      await tail.return();
      expect(await take(store.tail(id, { after: 3 }), 1)).toMatchObject([{ content: 'd' }]);
      expect(await store.getConversation(id)).toMatchObject({ messageCount: 1, lastSeq: 4, version: 1 });
      expect(await store.getConversation(id)).not.toHaveProperty('formerVersion');
    });

    test('in a transaction, one made again goes on, beside what else is written there', async () => {
      const tenant = storage.tenant(randomUUID());
      const id = randomUUID();
      for (const content of ['a', 'b']) await tenant.conversations.addMessage(id, { content });
      await tenant.conversations.deleteConversation(id);
      await tenant.transaction(async (tx) => {
        await tx.kv.set('beside', 'key', 1);
        expect(await tx.conversations.addMessage(id, { content: 'c' })).toMatchObject({ seq: 3 });
        expect(await tx.conversations.addMessage(id, { content: 'd' })).toMatchObject({ seq: 4 });
      });
      expect(await tenant.conversations.getConversation(id)).toMatchObject({ messageCount: 2, lastSeq: 4 });
      expect(await tenant.kv.get('beside', 'key')).toMatchObject({ value: 1 });
    });

    test('one that was never there is begun with one read', async () => {
      const store = fresh();
      await store.addMessage(randomUUID(), { content: 'the tables are there' });
      const { backend } = databaseOf(storage);
      const reading = jest.spyOn(backend, 'read');
      const finding = jest.spyOn(backend, 'find');
      await store.addMessage(randomUUID(), { content: 'a' });
      expect([reading.mock.calls.length, finding.mock.calls.length]).toEqual([1, 0]);
    });

    test('watchers get the events of one made again, by any way', async () => {
      const store = fresh();
      const id = randomUUID();
      const watch = store.watchEvents(id, { interval: 20 });
      const next = async (): Promise<StoreEvent> => (await watch.next()).value as StoreEvent;
      const seqs: number[] = [];
      for (let round = 0; round < 3; round++) {
        await store.ensureConversation(id, { title: 'one' });
        await store.renameConversation(id, 'two');
        await store.addMessage(id, { content: 'x' });
        const expectNext = async (type: string): Promise<void> => {
          const event = await next();
          expect(event.type).toBe(`conversation.${type}`);
          seqs.push(event.seq);
        };
        for (const type of ['created', 'updated', 'message']) await expectNext(type);
        await store.deleteConversation(id);
        await expectNext('deleted');
      }
      // Those of the deletions stay, each under an id of its own, and nothing else does.
      const kept = await store.listEvents(id);
      expect(kept.map(({ type }) => type)).toEqual(Array.from({ length: 3 }, () => 'conversation.deleted'));
      expect(new Set(kept.map((event) => event.id)).size).toBe(3);
      expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
      await watch.return();
    });

    test('an import into a place that was deleted keeps the places, and the next message comes after all', async () => {
      const store = fresh();
      const id = randomUUID();
      await store.addMessage(id, { content: 'a' });
      const lines: string[] = [];
      for await (const line of store.exportConversations()) lines.push(line);
      await store.addMessage(id, { content: 'b' });
      await store.deleteConversation(id);
      await store.importConversations(lines);
      expect((await store.listMessages(id)).items.map(({ seq }) => seq)).toEqual([1]);
      expect(await store.addMessage(id, { content: 'c' })).toMatchObject({ seq: 3 });
    });

    test('what was done under a key is not done again, whatever was there before and happened since', async () => {
      const store = fresh();
      const [id, other] = [randomUUID(), randomUUID()];
      const key = { idempotencyKey: 'k' };
      await store.ensureConversation(id);
      await store.ensureConversation(id, { title: 'mine' }, key);
      await store.renameConversation(id, 'theirs');
      expect(await store.ensureConversation(id, { title: 'mine' }, key)).toMatchObject({ title: 'theirs', version: 3 });
      await expect(store.ensureConversation(other, { title: 'mine' }, key)).rejects.toMatchObject({ code: 'CONFLICT' });
      // One that changes nothing is remembered too.
      await store.ensureConversation(id, { title: 'theirs' }, { idempotencyKey: 'nothing new' });
      await expect(
        store.ensureConversation(id, { title: 'other' }, { idempotencyKey: 'nothing new' }),
      ).rejects.toMatchObject({ code: 'CONFLICT' });
      await store.deleteConversation(id);
      await expect(store.ensureConversation(id, { title: 'mine' }, key)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      expect(await store.getConversation(id)).toBeNull();
    });

    test('a message that was there by its own id is remembered under the key', async () => {
      const store = fresh();
      const id = randomUUID();
      const message = { content: 'a', clientMessageId: 'm1' };
      const first = await store.addMessage(id, message);
      const again = await store.addMessage(id, message, { idempotencyKey: 'k' });
      expect(again.id).toBe(first.id);
      await expect(store.addMessage(id, { content: 'b' }, { idempotencyKey: 'k' })).rejects.toMatchObject({
        code: 'CONFLICT',
      });
      await store.purgeMessage(id, first.id);
      await expect(store.addMessage(id, message, { idempotencyKey: 'k' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });

    const purges = {
      purgeMessage: (store: ConversationStore, id: string, message: string) => store.purgeMessage(id, message),
      resetConversation: (store: ConversationStore, id: string) => store.resetConversation(id),
      deleteConversation: (store: ConversationStore, id: string) => store.deleteConversation(id),
    };
    test.each(Object.entries(purges))('vectors do not outlive a %s that overtakes them', async (_name, purge) => {
      const store = fresh();
      const id = randomUUID();
      const message = await store.addMessage(id, { content: 'a' });
      const kept = await store.addMessage(randomUUID(), { content: 'b' });
      await store.upsertMessageVectors(kept.id, [{ embedding: [1, 0] }]);
      // eslint-disable-next-line @typescript-eslint/unbound-method -- called on the store that it is given
      const { upsert } = VectorStore.prototype;
      // The purge is done when all is ready to be written, and before it is.
      jest.spyOn(VectorStore.prototype, 'upsert').mockImplementationOnce(async function (this: VectorStore, ...given) {
        expect(await purge(store, id, message.id)).toBe(true);
        return upsert.apply(this, given);
      } as typeof upsert);
      await expect(store.upsertMessageVectors(message.id, [{ embedding: [1, 0] }])).rejects.toMatchObject({
        code: 'NOT_FOUND',
      });
      expect(await store.listMessageVectors({ messageId: message.id })).toEqual([]);
      expect(await store.listMessageVectors({ messageId: kept.id })).toHaveLength(1);
    });
  });
