/** Messages found by their words and by their vectors, and what is told of new ones. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash, randomUUID } from 'node:crypto';
import { openStorage, type StorageManager, type TenantStorage } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';

const VECTORS = `messages-${randomUUID().slice(0, 8)}`;

for (const target of storageTargets('conversations: search'))
  describe(`search of messages on ${target.name}`, () => {
    let storage: StorageManager;
    let drop: () => Promise<void>;
    let hasVectors: boolean;
    beforeAll(async () => {
      const prepared = await target.prepare();
      drop = prepared.drop;
      const stores = { conversations: { vectors: VECTORS } };
      storage = await openStorage({ databases: { main: prepared.url }, ...stores }, { environment: {} });
      hasVectors = storage.settings.vectors.default !== undefined;
    });
    afterAll(async () => {
      if (hasVectors) await storage.vectors().deleteCollection(VECTORS);
      await storage.close();
      await drop();
    });
    const fresh = (): TenantStorage['conversations'] => storage.tenant(randomUUID()).conversations;

    if (!target.transactions) {
      test('reads what is there', async () => {
        expect(await fresh().search({ text: 'hello' })).toEqual({ count: 0, items: [] });
        await expect(fresh().upsertMessageVectors(randomUUID(), [{ embedding: [1] }])).rejects.toMatchObject({
          code: 'NOT_FOUND',
        });
      });
      return;
    }

    test('by words: all of them, of the content and its text; edits and deletions count', async () => {
      const store = fresh();
      const id = randomUUID();
      const one = await store.addMessage(id, {
        content: 'The quick brown fox',
        metadata: { tags: ['a', 'b'], deep: { x: 1 } },
      });
      const two = await store.addMessage(id, { content: { text: 'A QUICK red fox' } });
      const elsewhere = await store.addMessage(randomUUID(), { content: 'quick fox, elsewhere' });
      const ids = async (search: Parameters<typeof store.search>[0]): Promise<string[]> =>
        (await store.search(search)).items.map(({ message }) => message.id);
      expect(await ids({ text: 'fox quick' })).toEqual([elsewhere.id, two.id, one.id]);
      expect(await ids({ text: 'fox quick', order: 'asc', conversationIds: [id] })).toEqual([one.id, two.id]);
      expect(await store.search({ text: 'fox', limit: 1, offset: 1 })).toMatchObject({
        count: 3,
        items: [{ conversationId: id, score: 1, message: { id: two.id } }],
      });
      expect(await ids({ text: 'fox', metadata: { tags: ['b'], deep: { x: 1 } } })).toEqual([one.id]);
      expect(await ids({ text: 'fox', metadata: { tags: ['c'] } })).toEqual([]);
      // An empty list or object asks that the member is there.
      for (const metadata of [{ tags: [] }, { deep: {} }, { deep: { x: 1 }, tags: [] }]) {
        expect(await ids({ text: 'fox', metadata })).toEqual([one.id]);
        expect((await store.listMessages(id, { metadata })).items).toEqual([one]);
      }
      expect((await store.listMessages(id, { metadata: {} })).items).toEqual([one, two]);
      expect((await store.queryMessages({ metadata: { deep: { x: [] } } })).items).toEqual([one]);
      expect((await store.queryMessages({ metadata: { deep: { y: {} } } })).items).toEqual([]);
      expect(await ids({ text: 'fo' })).toEqual([]);
      expect(await ids({ text: 'fox', conversationIds: [] })).toEqual([]);
      await store.editMessage(id, one.id, { content: 'The slow hare' });
      await store.deleteMessage(id, two.id);
      expect(await ids({ text: 'fox', conversationIds: [id] })).toEqual([]);
      expect(await ids({ text: 'hare' })).toEqual([one.id]);
      expect(await store.search({ conversationIds: [id] })).toMatchObject({ count: 1, items: [{ score: 0 }] });
      expect(await fresh().search({ text: 'fox' })).toEqual({ count: 0, items: [] });
    });

    test('by vectors: the nearest first, by meaning and words the greater score', async () => {
      if (!hasVectors) {
        const message = await fresh().addMessage(randomUUID(), { content: 'x' });
        expect(message.seq).toBe(1);
        const store = fresh();
        const added = await store.addMessage(randomUUID(), { content: 'y' });
        const before = await store.getConversation(added.conversationId);
        await expect(store.upsertMessageVectors(added.id, [{ embedding: [1, 0] }])).rejects.toMatchObject({
          code: 'CONFIGURATION',
        });
        expect(await store.getConversation(added.conversationId)).toEqual(before);
        await expect(fresh().search({ vector: [1, 0] })).rejects.toMatchObject({ code: 'CONFIGURATION' });
        return;
      }
      const store = fresh();
      const id = randomUUID();
      expect(await store.search({ vector: [1, 0, 0] })).toEqual({ count: 0, items: [] });
      const [a, b, c] = await Promise.all(
        ['apple', 'pear', 'bolt'].map((content) => store.addMessage(id, { content })),
      );
      const [made] = await store.upsertMessageVectors(a!.id, [
        { embedding: [1, 0, 0], model: 'm', metadata: { lang: 'en' } },
      ]);
      await store.upsertMessageVectors(b!.id, [{ values: [1, 1, 0] }, { embedding: [0, 1, 0], vectorKey: 'second' }]);
      await store.upsertMessageVectors(c!.id, [{ embedding: [-1, 0, 0] }]);
      const bytes = Buffer.alloc(24);
      bytes.writeDoubleBE(1, 0);
      expect(made).toMatchObject({
        vectorKey: `${a!.id}:conversation:m:v0`,
        messageId: a!.id,
        conversationId: id,
        metadata: {
          lang: 'en',
          namespace: id,
          dimensions: 3,
          checksum: createHash('sha1').update(bytes).digest('hex'),
        },
      });
      const near = await store.search({ vector: [1, 0.1, 0] });
      expect(near.items.map(({ message }) => message.id)).toEqual([a!.id, b!.id]);
      expect(near).toMatchObject({ count: 2, items: [{ score: expect.closeTo(0.995, 2) }, {}] });
      const nearest = await store.search({ vector: [1, 0.1, 0], minScore: 0.9 });
      expect(nearest.items.map(({ message }) => message.id)).toEqual([a!.id]);
      expect(await store.search({ vector: [1, 0.1, 0], minScore: 1 })).toEqual({ count: 0, items: [] });
      const both = await store.search({ text: 'bolt', embed: async () => [1, 0.1, 0] });
      expect(both.items.map(({ message, score }) => [message.id, score === 1])).toEqual([
        [c!.id, true],
        [a!.id, false],
        [b!.id, false],
      ]);
      await expect(store.upsertMessageVectors(a!.id, [{ embedding: [1, 0, 0], id: 'second' }])).rejects.toMatchObject({
        code: 'ALREADY_EXISTS',
        details: { constraint: 'vectorKey', existingId: b!.id },
      });
      await expect(store.upsertMessageVectors(a!.id, [{ embedding: [1, 0] }])).rejects.toMatchObject({
        code: 'VALIDATION',
      });
      expect((await store.listMessageVectors({ messageId: b!.id })).map(({ vectorKey }) => vectorKey)).toContain(
        'second',
      );
      expect(await store.listMessageVectors({ vectorKeys: [] })).toEqual([]);
      await expect(store.deleteMessageVectors({})).rejects.toMatchObject({ code: 'VALIDATION' });
      expect(await store.deleteMessageVectors({ vectorKeys: ['second'] })).toBe(1);
      expect(await fresh().listMessageVectors({ conversationId: id })).toEqual([]);
      // A deleted message is not found, a purged one leaves no vector.
      await store.deleteMessage(id, a!.id);
      expect((await store.search({ vector: [1, 0, 0], limit: 1 })).items.map(({ message }) => message.id)).toEqual([
        b!.id,
      ]);
      await store.purgeMessage(id, a!.id);
      expect(await store.listMessageVectors({ messageId: a!.id })).toEqual([]);
      expect(await store.listMessageVectors({ conversationId: id })).toHaveLength(2);
      await store.deleteConversation(id);
      expect(await store.listMessageVectors({ conversationId: id })).toEqual([]);
    });

    test('a tail gives what is there and what comes', async () => {
      const store = fresh();
      const id = randomUUID();
      await store.addMessage(id, { content: 'one' });
      const stop = new AbortController();
      const seen: unknown[] = [];
      const reading = (async () => {
        for await (const { content, seq } of store.tail(id, { signal: stop.signal, interval: 60_000 })) {
          seen.push(content);
          if (seq === 1) void store.addMessage(id, { content: 'two' });
          if (seq === 2) stop.abort();
        }
      })();
      await reading;
      expect(seen).toEqual(['one', 'two']);
    });

    test('a tail and a watcher give nothing more once they are told to stop, though they have read more', async () => {
      const store = fresh();
      const id = randomUUID();
      for (let i = 0; i < 4; i++) await store.addMessage(id, { content: i });
      const [tail, watch] = [new AbortController(), new AbortController()];
      const seen: number[] = [];
      for await (const { seq } of store.tail(id, { signal: tail.signal })) if (seen.push(seq) === 2) tail.abort();
      expect(seen).toEqual([1, 2]);
      const told: string[] = [];
      for await (const { type } of store.watchEvents(id, { signal: watch.signal }))
        if (told.push(type) === 2) watch.abort();
      expect(told).toEqual(['conversation.created', 'conversation.message']);
    });
  });

test('of more words than one filter takes a text is refused by its own name, or found by its meaning alone', async () => {
  await using storage = await openStorage(
    { databases: { main: 'memory:' }, vectors: { default: 'memory' } },
    { environment: {} },
  );
  const store = storage.conversations;
  const words = (count: number): string => Array.from({ length: count }, (_, i) => `w${i}`).join(' ');
  const { id } = await store.addMessage(randomUUID(), { content: words(300), metadata: { a: 1 } });
  await store.upsertMessageVectors(id, [{ embedding: [1, 0] }]);
  expect(await store.search({ text: words(255) })).toMatchObject({ count: 1 });
  // A word that comes twice counts once; each condition counts as a word.
  expect(await store.search({ text: `${words(254)} W0`, metadata: { a: 1 } })).toMatchObject({ count: 1 });
  for (const search of [{ text: words(256) }, { text: words(255), metadata: { a: 1 } }])
    for (const vector of [undefined, [1, 0]])
      await expect(store.search({ ...search, vector })).rejects.toMatchObject({
        code: 'VALIDATION',
        details: { key: 'search.text' },
      });
  const embed = async (): Promise<number[]> => [1, 1];
  const hits = await store.search({ text: words(300), embed });
  expect(hits).toMatchObject({ count: 1, items: [{ message: { id }, score: expect.closeTo(Math.SQRT1_2, 5) }] });
  expect(await store.search({ text: words(255), embed })).toMatchObject({ count: 1, items: [{ score: 1 }] });
});
