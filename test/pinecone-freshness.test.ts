/** Reads of one's own writes in Pinecone, on a stand-in whose reads are behind. */
import { describe, expect, test } from '@jest/globals';
import { systemClock } from '../src/clock.js';
import { storeOn } from '../src/testing/vector-target.js';
import { Freshness } from '../src/vectors/pinecone/freshness.js';
import { fill, usePinecone } from './support/pinecone/fixture.js';
import { Namespace } from './support/pinecone/state.js';

const opened = usePinecone();

const session = { consistency: 'session', include: { metadata: false } } as const;
const near = { ...session, vector: [1, 0] };

describe('a search by the id of a record', () => {
  test('that was just written is by its vector', async () => {
    const { store } = await opened({ lag: 2 });
    await store.createCollection({ name: 'docs', dimension: 2 });
    await store.upsert('docs', [
      { id: 'a', vector: [1, 0] },
      { id: 'b', vector: [0, 1] },
    ]);
    await expect(store.search('docs', { id: 'a' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await store.search('docs', { ...session, id: 'a', topK: 1 })).toMatchObject([{ id: 'a', score: 1 }]);
    await store.upsert('docs', [{ id: 'a', vector: [0, 2] }]);
    expect(await store.search('docs', { ...session, id: 'a', minScore: 0.9 })).toMatchObject([
      { id: 'a', score: 1 },
      { id: 'b', score: 1 },
    ]);
  });

  test('that is nowhere is NOT_FOUND once the writes are seen', async () => {
    const { store } = await opened({ lag: 2 });
    await fill(store, 'docs', 1);
    await expect(store.search('docs', { ...session, id: 'none' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await store.delete('docs', ['r0']);
    await expect(store.search('docs', { ...session, id: 'r0' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('is UNSUPPORTED where a fetch does not tell what it has seen', async () => {
    const { store } = await opened({ marks: false });
    await fill(store, 'docs', 1);
    await expect(store.search('docs', { ...session, id: 'r0' })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  });
});

test('a reader that is behind the one that answered before is waited for', async () => {
  const { store, standIn } = await opened();
  await fill(store, 'docs', 1);
  expect(await store.search('docs', near)).toHaveLength(1);
  const namespace = standIn.indexes.get('docs')!.namespaces.get('acme/')!;
  const behind = new Namespace();
  let answers = 0;
  namespace.read = (lag) => (++answers < 3 ? behind.read(lag) : Namespace.prototype.read.call(namespace, lag));
  expect(await store.search('docs', near)).toHaveLength(1);
  expect(answers).toBe(3);
});

describe('a namespace that the service does not know yet', () => {
  test('is waited for', async () => {
    const { store, standIn } = await opened();
    await fill(store, 'docs', 1);
    standIn.fail('queryVectors', { status: 404 }, 2);
    expect(await store.search('docs', near)).toHaveLength(1);
    standIn.fail('fetchVectors', { status: 404 });
    expect(await store.search('docs', { ...session, id: 'r0' })).toHaveLength(1);
    standIn.fail('queryVectors', { status: 404 });
    expect(await store.search('docs', { vector: [1, 0] })).toEqual([]);
  });

  test('is empty where nothing was written, and after everything was deleted', async () => {
    const { store, standIn } = await opened();
    await fill(store, 'docs', 1);
    standIn.fail('queryVectors', { status: 404 }, 2);
    expect(await store.search('docs', { ...near, namespace: 'none' })).toEqual([]);
    await store.delete('docs', { all: true });
    expect(await store.search('docs', near)).toEqual([]);
    expect(standIn.seen('queryVectors')).toHaveLength(2);
  });
});

test('an index that is made anew after a deletion without an end is not waited for by the marks of the one before', async () => {
  const { store, standIn, provider } = await opened({ terminating: 1_000 });
  await fill(store, 'docs', 1);
  await store.upsert('docs', [{ id: 'more', vector: [1, 0] }]);
  await expect(store.deleteCollection('docs', { timeout: 2_000 })).rejects.toMatchObject({ code: 'TIMEOUT' });
  standIn.indexes.get('docs')!.terminating = 0;
  await store.createCollection({ name: 'docs', dimension: 2 });
  await store.upsert('docs', [{ id: 'first', vector: [1, 0] }]);
  expect(await store.search('docs', { ...near, timeout: 30_000 })).toMatchObject([{ id: 'first' }]);
  await provider.settle!({ now: new Date(), deadline: systemClock.monotonic() + 30_000 });
});

describe('a delete by pages', () => {
  test('waits for its own namespace alone', async () => {
    const { store, standIn, provider } = await opened({ deletesByFilter: false, lag: 1 });
    await fill(store, 'docs', 3);
    await storeOn(provider, 'other').upsert('docs', [{ id: 'a', vector: [1, 0] }]);
    await provider.settle!({ now: new Date(), deadline: systemClock.monotonic() + 30_000 });
    await storeOn(provider, 'other').upsert('docs', [{ id: 'b', vector: [1, 0] }]);
    const before = standIn.seen('queryVectors').length;
    await store.delete('docs', { filter: { i: { $lt: 2 } } });
    const asked = standIn.seen('queryVectors').slice(before);
    expect(new Set(asked.map(({ body }) => (body as { namespace: string }).namespace))).toEqual(new Set(['acme/']));
    await provider.settle!({ now: new Date(), deadline: systemClock.monotonic() + 30_000 });
    expect(await store.count('docs')).toBe(1);
  });

  test('looks again where the service does not tell what a read has seen', async () => {
    const { store, standIn } = await opened({ deletesByFilter: false, marks: false });
    await fill(store, 'docs', 3);
    standIn.options.lag = 1;
    await store.delete('docs', { filter: { i: { $lt: 2 } } });
    expect((await store.list('docs')).items.map(({ id }) => id)).toEqual(['r2']);
  });

  test('takes what was written just before', async () => {
    const { store } = await opened({ deletesByFilter: false, lag: 2 });
    await fill(store, 'docs', 3);
    await store.delete('docs', { filter: { i: { $lt: 2 } } });
    expect(await store.search('docs', near)).toMatchObject([{ id: 'r2' }]);
  });
});

test('what was written is waited for also after a deletion of the collection that was refused', async () => {
  const { store, standIn } = await opened({ lag: 3 });
  await fill(store, 'docs', 1);
  standIn.indexes.get('docs')!.deletionProtection = 'enabled';
  await expect(store.deleteCollection('docs')).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  expect(await store.search('docs', near)).toHaveLength(1);
});

describe.each([
  ['goes with its records and counts anew', true],
  ['stays and counts on', false],
])('a namespace that is emptied and %s', (_name, dropsErased) => {
  test('is empty for a session, and shows it what is written next', async () => {
    const { store } = await opened({ dropsErased, lag: 1 });
    await fill(store, 'docs', 1);
    for (const id of ['a', 'b', 'c']) await store.upsert('docs', [{ id, vector: [1, 0] }]);
    await store.delete('docs', { all: true });
    for (let i = 0; i < 3; i++) expect(await store.search('docs', { ...near, timeout: 30_000 })).toEqual([]);
    await store.upsert('docs', [{ id: 'next', vector: [1, 0] }]);
    expect(await store.search('docs', { ...near, timeout: 30_000 })).toMatchObject([{ id: 'next' }]);
  });
});

test('of writes at the same time the one with the largest number is waited for', async () => {
  const { store, standIn, provider } = await opened();
  await fill(store, 'docs', 1);
  const schema = await store.describeCollection('docs');
  const freshness = new Freshness(provider.name, systemClock);
  const place = { schema, namespace: 'acme/', made: standIn.indexes.get('docs')!.tags['qm-made']! };
  const [first, second] = [freshness.begin(), freshness.begin()];
  freshness.wrote({ ...place, began: second, mark: 8, leaves: 'records' });
  freshness.wrote({ ...place, began: first, mark: 7, leaves: 'records' });
  expect(freshness.isFresh(place, { ...place, indexed: 7, isAbsent: false })).toBe(false);
  freshness.wrote({ ...place, began: freshness.begin(), mark: 1, leaves: 'records' });
  expect(freshness.isFresh(place, { ...place, indexed: 1, isAbsent: false })).toBe(true);
});

test('what does not fit into a result is fetched no older than the session', async () => {
  const { store, standIn } = await opened();
  await store.createCollection({ name: 'docs', dimension: 2 });
  const records = (text: string) =>
    Array.from({ length: 130 }, (_, i) => ({ id: `r${i}`, vector: [1, i], metadata: { a: text.padEnd(38_000, 'x') } }));
  await store.upsert('docs', records('old'));
  const namespace = standIn.indexes.get('docs')!.namespaces.get('acme/')!;
  const behind = new Namespace();
  behind.write((rows) => namespace.visible.forEach((row, id) => rows.set(id, row)), 0);
  await store.upsert('docs', records('new'));
  let answers = 0;
  // Two queries, of which the second one gives ids; then the fetches meet another reader for a while.
  namespace.read = (lag) =>
    ++answers > 2 && answers < 6 ? behind.read(lag) : Namespace.prototype.read.call(namespace, lag);
  const query = { vector: [1, 0], topK: 130, consistency: 'session' } as const;
  const hits = await store.search<{ a: string }>('docs', query);
  expect(hits).toHaveLength(130);
  expect(hits.filter(({ metadata }) => metadata?.a.startsWith('old'))).toEqual([]);
});
