/** Vectors of messages: what they say of themselves, which are listed and deleted, whose they are. */
import { expect, jest, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { ConversationStore } from '../../src/index.js';
import { useStorage } from '../support/use-storage.js';

const storage = useStorage(
  { prepare: () => Promise.resolve({ url: 'memory:', drop: () => Promise.resolve() }) },
  { vectors: { default: 'memory' } },
);
const fresh = (): ConversationStore => storage().tenant(randomUUID()).conversations;

test('more vectors than one call of a provider takes are deleted', async () => {
  const store = fresh();
  const { id, conversationId } = await store.addMessage(randomUUID(), { content: 'a' });
  for (let i = 0; i <= 10; i++) {
    const made = Array.from({ length: i < 10 ? 1_000 : 1 }, (_, n) => ({ embedding: [1, n], id: `${i}-${n}` }));
    await store.upsertMessageVectors(id, made);
  }
  expect(await store.deleteMessageVectors({ conversationId })).toBe(10_001);
  expect(await store.listMessageVectors({ conversationId })).toEqual([]);
});

test('a search by vectors reads no message that its filter leaves out, and none twice', async () => {
  const store = fresh();
  const id = randomUUID();
  const messages = await Promise.all(
    Array.from({ length: 60 }, (_, i) => store.addMessage(id, { content: `a${i}`, metadata: { even: i % 2 === 0 } })),
  );
  for (const [i, message] of messages.entries())
    await store.upsertMessageVectors(message.id, [{ embedding: [1, i / 100] }]);
  const { backend } = store['host'];
  const [find, read] = [jest.spyOn(backend, 'find'), jest.spyOn(backend, 'read')];
  const countRead = async (metadata: object): Promise<[number, number]> => {
    const { items } = await store.search({ vector: [1, 0], metadata, limit: 5 });
    const found = await Promise.all([...find.mock.results, ...read.mock.results].map(({ value }) => value));
    find.mockClear();
    read.mockClear();
    return [items.length, found.flat().length];
  };
  expect(await countRead({ none: true })).toEqual([0, 0]);
  // Of the nearest 20, of which half are such.
  expect(await countRead({ even: true })).toEqual([5, 10]);
});

test('metadata say nothing else of a vector than the vector itself', async () => {
  const store = fresh();
  const { id, conversationId } = await store.addMessage(randomUUID(), { content: 'a' });
  const before = await store.getConversation(conversationId);
  const said = { provider: 'openai', model: 'm', modelVersion: '1', checksum: 'c', vectorKey: 'k' };
  const names = [...Object.keys(said), 'embeddingModel', 'embeddingModelVersion', 'embeddingChecksum'];
  for (const name of [...names, 'dimensions', 'messageId', 'conversationId', 'createdAt']) {
    const metadata = { [name]: 'mine' };
    await expect(store.upsertMessageVectors(id, [{ ...said, embedding: [1, 0], metadata }])).rejects.toMatchObject({
      code: 'VALIDATION',
      details: { key: `vectors[0].metadata.${name}` },
    });
  }
  expect(await store.getConversation(conversationId)).toEqual(before);
  expect(await store.listMessageVectors({ messageId: id })).toEqual([]);
  // The same may be said: what is listed can be written again. What the vector does not say itself is the metadata's.
  const metadata = { namespace: 'mine', lang: 'en' };
  const [made] = await store.upsertMessageVectors(id, [{ ...said, embedding: [1, 0], metadata }]);
  const { embedding, metadata: listed } = (await store.listMessageVectors({ messageId: id, provider: 'openai' }))[0]!;
  expect(listed).toMatchObject({ ...said, ...metadata, conversationId, messageId: id, dimensions: 2 });
  expect(await store.upsertMessageVectors(id, [{ ...said, embedding, metadata: listed }])).toEqual([made]);
  await store.upsertMessageVectors(id, [{ embedding, id: 'other', metadata: { provider: 'theirs', checksum: 'x' } }]);
  expect(await store.listMessageVectors({ messageId: id, provider: 'theirs' })).toMatchObject([
    { vectorKey: 'other', metadata: { provider: 'theirs', checksum: 'x' } },
  ]);
});

test('are not deleted by empty lists, and the key of another tenant is another', async () => {
  const [mine, theirs] = [fresh(), fresh()];
  const listed = [];
  for (const [i, store] of [mine, theirs].entries()) {
    const { id } = await store.addMessage(randomUUID(), { content: 'a' });
    await store.upsertMessageVectors(id, [
      { embedding: [1, i], id: 'k' },
      { embedding: [i, 1], id: `k${i}` },
    ]);
    listed.push(await store.listMessageVectors({ messageId: id }));
  }
  const [messageId, conversationId] = [listed[0]![0]!.messageId, listed[0]![0]!.conversationId];
  for (const nothing of [{ vectorKeys: [] }, { messageIds: [] }, { messageIds: [], messageId, conversationId }]) {
    expect(await mine.deleteMessageVectors(nothing)).toBe(0);
    expect(await mine.listMessageVectors(nothing)).toEqual([]);
  }
  expect(await mine.listMessageVectors({ messageId })).toEqual(listed[0]);
  expect(await theirs.deleteMessageVectors({ messageId })).toBe(0);
  expect(await mine.deleteMessageVectors({ vectorKeys: ['k', 'k1'] })).toBe(1);
  expect((await mine.listMessageVectors({ messageId })).map(({ vectorKey }) => vectorKey)).toEqual(['k0']);
  expect(await theirs.listMessageVectors({ vectorKeys: ['k', 'k1'] })).toEqual(listed[1]);
});

test('an offset passes over the nearest once', async () => {
  const store = fresh();
  const id = randomUUID();
  const messages = await Promise.all([0, 1, 2, 3, 4].map((i) => store.addMessage(id, { content: i })));
  for (const [i, message] of messages.entries())
    await store.upsertMessageVectors(message.id, [{ embedding: [1, (i + 2) % 5] }]);
  const contents = async (limit: number, offset?: number): Promise<unknown[]> =>
    (await store.search({ vector: [1, 0], limit, offset })).items.map(({ message }) => message.content);
  expect(await contents(5)).toEqual([3, 4, 0, 1, 2]);
  expect(await contents(2, 1)).toEqual([4, 0]);
  expect(await contents(2, 4)).toEqual([2]);
  expect(await contents(2, 5)).toEqual([]);
});
