/** Collections that another process makes anew: a store that remembers the old declaration goes by the new one. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { systemClock } from '../src/clock.js';
import type { OperationContext } from '../src/component.js';
import type { ErrorCode } from '../src/errors.js';
import type { PostgresDialectPool } from '../src/pools/pool.js';
import { memory as memoryPool } from '../src/pools/memory.js';
import { memory } from '../src/vectors/memory.js';
import type { VectorCollectionSpec, VectorProvider } from '../src/vectors/provider.js';
import { storeOn } from '../src/testing/vector-target.js';
import { resolveSchema } from '../src/vectors/codec/schema.js';
import { VectorStore } from '../src/vectors/vector-store.js';
import { ManualClock } from './support/manual-clock.js';
import { context, openProvider, providerOn, type Opened } from './support/pgvector/fixture.js';
import { createProvider, openPinecone, type OpenPinecone } from './support/pinecone/fixture.js';

const code = (expected: ErrorCode): unknown => expect.objectContaining({ code: expected });

async function remake(provider: VectorProvider, spec: VectorCollectionSpec): Promise<void> {
  await provider.deleteCollection(spec.name, context());
  await provider.createCollection(resolveSchema(spec, provider.capabilities), context());
}

describe('what is decided without asking the provider', () => {
  const clock = new ManualClock();
  const pool = memoryPool.create('memory:', { seed: null }, { clock: systemClock, name: 'main' });
  const provider = memory.create({}, { clock: systemClock, name: 'vectors:memory', pool });
  const described: string[] = [];
  const told: VectorProvider = Object.create(provider, {
    describeCollection: {
      value: (name: string, inside: OperationContext) => {
        described.push(name);
        return provider.describeCollection(name, inside);
      },
    },
  }) as VectorProvider;
  const store = new VectorStore(told, 'acme', () => ({ context: context(), end: () => undefined }), clock);
  beforeAll(() => pool.open());
  afterAll(() => pool.close());
  afterEach(() => void described.splice(0));

  const filter = { n: '5' };
  test.each<[string, (name: string) => Promise<unknown>, unknown]>([
    ['a count', (name) => store.count(name, filter), 1],
    ['a search', (name) => store.search(name, { vector: [1, 0], filter }), [{ id: 'a' }]],
    ['a page', (name) => store.list(name, { filter }), { items: [{ id: 'a' }] }],
    ['a deletion', (name) => store.delete(name, { filter }), { deleted: 1 }],
    ['a write', (name) => store.upsert(name, [{ id: 'b', vector: [1, 0], metadata: { n: '6' } }]), { written: 1 }],
  ])('%s is decided anew by what the collection is, some seconds later', async (what, ask, answer) => {
    const spec = { name: what.replace(' ', '-'), dimension: 2, fields: { n: 'number' } } as const;
    await store.createCollection(spec);
    expect(await store.count(spec.name)).toBe(0);
    await remake(provider, { ...spec, fields: { n: 'string' } });
    const schema = (await provider.describeCollection(spec.name, context()))!;
    const record = { id: 'a', vector: Float32Array.of(1, 0), metadata: { n: '5' } };
    await provider.upsert(schema, { tenant: 'acme', namespace: '' }, [record], context());
    expect(await store.count(spec.name, filter)).toBe(0);
    await clock.advance(5_000);
    expect([await ask(spec.name)]).toMatchObject([answer]);
  });

  test('asks for the declaration once in some seconds, and for nothing where the provider is asked anyway', async () => {
    await store.createCollection({ name: 'once', dimension: 2, fields: { n: 'number' } });
    await store.count('once');
    for (let i = 0; i < 10; i++) {
      expect(await store.count('once', { n: 'text' })).toBe(0);
      await expect(store.search('once', { vector: [1, 0], topK: 0 })).rejects.toEqual(code('VALIDATION'));
    }
    expect(described).toEqual(['once']);
    await clock.advance(60_000);
    expect(await store.count('once')).toBe(0);
    expect(described).toHaveLength(1);
    for (let i = 0; i < 10; i++) {
      expect(await store.count('once', { n: 'text' })).toBe(0);
      await expect(store.search('once', { vector: [1, 0], topK: 0 })).rejects.toEqual(code('VALIDATION'));
    }
    expect(described).toHaveLength(2);
  });

  test('a stream goes by the declaration that holds when it begins', async () => {
    await store.createCollection({ name: 'stream', dimension: 2 });
    await store.count('stream');
    await remake(provider, { name: 'stream', dimension: 3 });
    function* source() {
      for (let i = 0; i < 3; i++) yield { id: `r${i}`, vector: [1, 2, i] };
    }
    expect(await store.upsert('stream', source())).toEqual({ written: 3, failed: 0, failures: [] });
  });

  test('describeCollection says what the provider says', async () => {
    await store.createCollection({ name: 'told', dimension: 2 });
    expect((await store.describeCollection('told')).dimension).toBe(2);
    await remake(provider, { name: 'told', dimension: 3, metric: 'dot' });
    expect(await store.describeCollection('told')).toMatchObject({ dimension: 3, metric: 'dot' });
    await provider.deleteCollection('told', context());
    await expect(store.describeCollection('told')).rejects.toEqual(code('NOT_FOUND'));
  });
});

describe('on pgvector', () => {
  let opened: Opened;
  beforeAll(async () => {
    opened = await openProvider();
  });
  afterAll(() => opened.close());

  const base = { dimension: 3, metric: 'cosine' } as const;
  test.each<[string, Omit<VectorCollectionSpec, 'name'>, Omit<VectorCollectionSpec, 'name'>]>([
    ['texts that are searched', base, { ...base, text: {} }],
    ['texts that are no longer searched', { ...base, text: {} }, base],
    ['another index', base, { ...base, index: { kind: 'ivfflat', lists: 4 } }],
    ['fields', { ...base, fields: { n: 'string' } }, { ...base, fields: { n: 'number' } }],
    ['another metric', base, { ...base, metric: 'euclidean' }],
  ])('%s: the table of the old one is not there', async (what, before, after) => {
    const name = `anew-${what.replaceAll(' ', '-')}`;
    const ours = storeOn(opened.provider, 'main');
    const row = { id: 'a', vector: [1, 2, 3], text: 'an apple' };
    await ours.createCollection({ ...before, name });
    await ours.upsert(name, [row]);
    await remake(providerOn(opened.pool), { ...after, name });
    expect(await ours.search(name, { vector: [1, 2, 3] })).toEqual([]);
    expect(await ours.upsert(name, [row])).toMatchObject({ written: 1 });
    expect(await ours.search(name, { vector: [1, 2, 3], include: { metadata: false } })).toEqual([
      { id: 'a', text: 'an apple', score: expect.closeTo(after.metric === 'euclidean' ? 0 : 1) as unknown },
    ]);
    if (after.text !== undefined) expect(await ours.search(name, { text: 'apple' })).toHaveLength(1);
  });

  test('one that is made anew in a transaction, while another handle asks for what was', async () => {
    const ours = storeOn(opened.provider, 'main');
    const name = 'meanwhile';
    await ours.createCollection({ name, dimension: 3, fields: { n: 'string' } });
    const pool = opened.pool as PostgresDialectPool;
    // Another connection would see the old collection until the commit: its memory is put there by hand.
    const old = await ours.describeCollection(name);
    await pool.transaction({ context: context() }, async (session) => {
      const inside = storeOn(opened.provider, 'main', session);
      await inside.deleteCollection(name);
      await inside.createCollection({ name, dimension: 3, fields: { n: 'number' } });
    });
    const late = Object.create(opened.provider, {
      describeCollection: { value: () => Promise.resolve(old), writable: true },
    }) as { -readonly [K in keyof VectorProvider]: VectorProvider[K] };
    const theirs = storeOn(late, 'main');
    await expect(theirs.count(name)).rejects.toEqual(code('NOT_FOUND'));
    late.describeCollection = (...given) => opened.provider.describeCollection(...given);
    expect(await theirs.count(name, { n: 5 })).toBe(0);
  });

  test('a process that has only transactions finds the new one in its next', async () => {
    const name = 'inside';
    const ours = storeOn(opened.provider, 'main');
    await ours.createCollection({ name, dimension: 3 });
    await ours.count(name);
    await remake(providerOn(opened.pool), { name, dimension: 3, metric: 'dot' });
    const count = (): Promise<number> =>
      opened.pool.transaction({ context: context() }, (session) =>
        storeOn(opened.provider, 'main', session).count(name),
      );
    await expect(count()).rejects.toEqual(code('NOT_FOUND'));
    expect(await count()).toBe(0);
  });
});

describe('on Pinecone, which tells of nothing', () => {
  let open: OpenPinecone;
  const clock = new ManualClock();
  beforeAll(async () => {
    open = await openPinecone({});
  });
  afterAll(() => open.close());

  test('some seconds later', async () => {
    const { standIn, provider } = open;
    const near = [1, 0];
    const theirs = storeOn(provider, 'acme');
    await theirs.createCollection({ name: 'docs', dimension: 2 });
    const ours = createProvider(standIn.settings, clock);
    await ours.open({ clock, signal: new AbortController().signal });
    const begin = () => ({ context: { now: clock.now(), deadline: clock.monotonic() + 1e9 }, end: () => undefined });
    const store = new VectorStore(ours, 'acme', begin, clock);
    await store.upsert('docs', [{ id: 'old', vector: near }]);
    await remake(provider, { name: 'docs', dimension: 2, metric: 'euclidean' });
    await theirs.upsert('docs', [
      { id: 'far', vector: [5, 0] },
      { id: 'near', vector: near },
    ]);
    await clock.advance(5_001);
    const described = standIn.seen('describe_index').length;
    const hits = await store.search('docs', { vector: near, consistency: 'session', include: { metadata: false } });
    expect(hits).toEqual([
      { id: 'near', score: 0 },
      { id: 'far', score: -4 },
    ]);
    await store.search('docs', { vector: near });
    // Once to look at it, once to say what it is now.
    expect(standIn.seen('describe_index')).toHaveLength(described + 2);
    await ours.close(clock.monotonic());
  });
});
