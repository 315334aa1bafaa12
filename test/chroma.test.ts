/** Chroma: what its server does with collections, lists, merges and numbers, and that none of it can be seen. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { storeOn } from '../src/testing/vector-target.js';
import type { VectorStore } from '../src/vectors/vector-store.js';
import { ChromaFixture, describeChroma } from './support/chroma/fixture.js';
import { PROJECT } from './support/project.js';
import { random } from './support/random.js';

const MANY = 25_000;
const LONG = 300_000;

describeChroma('chroma', () => {
  let fixture: ChromaFixture;
  let store: VectorStore;

  beforeAll(async () => {
    fixture = await ChromaFixture.open();
    store = await fixture.store();
  });
  afterAll(() => fixture.close());

  test('an upsert that leaves a key out is not read as the merge that the server makes of it', async () => {
    await store.createCollection({ name: 'merged', dimension: 2 });
    await store.upsert('merged', [{ id: 'a', vector: [1, 2], metadata: { a: 1, b: 'x', tags: ['t'] }, text: 'old' }]);
    await store.upsert('merged', [{ id: 'a', vector: [2, 1], metadata: { c: 1 } }]);
    const native = await fixture.native('POST', `/collections/${await fixture.part('merged')}/get`, { ids: ['a'] });
    expect(native).toMatchObject({ metadatas: [{ a: 1, b: 'x', tags: ['t'], c: 1 }] });
    expect(await store.get('merged', 'a')).toEqual({ id: 'a', metadata: { c: 1 } });
    for (const filter of [{ a: 1 }, { b: { $exists: true } }, { a: { $lt: 5 } }, { tags: { $contains: 't' } }])
      expect(await store.count('merged', filter)).toBe(0);
    for (const filter of [{ a: { $ne: 1 } }, { b: { $exists: false } }, { a: { $not: { $lt: 5 } } }])
      expect(await store.count('merged', filter)).toBe(1);
  });

  test('lists of a collection that another program deleted are not shown', async () => {
    const orphan = (await fixture.native('POST', '/collections', { name: 'theirs' })) as { id: string };
    const ids = Array.from({ length: 50 }, (_, i) => `r${i}`);
    await fixture.native('POST', `/collections/${orphan.id}/upsert`, {
      ids,
      embeddings: ids.map(() => [1, 2]),
      metadatas: ids.map(() => ({ tags: ['leaked'], 'qm.types': ['-', 'l:tags'] })),
    });
    await fixture.native('DELETE', '/collections/theirs');
    await store.createCollection({ name: 'ours', dimension: 2 });
    await store.upsert(
      'ours',
      ids.map((id) => ({ id, vector: [1, 2] })),
    );
    const { items } = await store.list('ours', { limit: 100 });
    expect(items.map(({ metadata }) => metadata)).toEqual(ids.map(() => ({})));
    expect(await store.count('ours', { tags: { $contains: 'leaked' } })).toBe(0);
    expect(await store.count('ours', { tags: { $exists: false } })).toBe(ids.length);
  });

  test('by inner product, short vectors come in their order, and with their scores', async () => {
    await store.createCollection({ name: 'short', dimension: 24, metric: 'dot' });
    const next = random(7);
    const short = (): number[] => {
      const direction = Array.from({ length: 24 }, () => next() * 2 - 1);
      const length = Math.hypot(...direction);
      return direction.map((number) => (number / length) * 3e-4);
    };
    const rows = Array.from({ length: 300 }, (_, i) => ({ id: `r${i}`, vector: short() }));
    await store.upsert('short', rows);
    const query = short();
    const product = (vector: readonly number[]): number =>
      vector.reduce((sum, number, i) => sum + number * query[i]!, 0);
    const closest = [...rows].sort((a, b) => product(b.vector) - product(a.vector)).slice(0, 10);
    const hits = await store.search('short', { vector: query, topK: 10 });
    expect(hits.map(({ id }) => id)).toEqual(closest.map(({ id }) => id));
    for (const [i, { score }] of hits.entries()) expect(score / product(closest[i]!.vector)).toBeCloseTo(1, 2);
  });

  test('what a collection held that is deleted is not shown by the next one of its ids', async () => {
    const ids = Array.from({ length: 50 }, (_, i) => `r${i}`);
    await store.createCollection({ name: 'former', dimension: 2 });
    await store.upsert(
      'former',
      ids.map((id) => ({ id, vector: [1, 2], metadata: { tags: ['former'] } })),
    );
    await store.deleteCollection('former');
    const next = (await fixture.native('POST', '/collections', { name: 'next' })) as { id: string };
    await fixture.native('POST', `/collections/${next.id}/upsert`, { ids, embeddings: ids.map(() => [1, 2]) });
    const { metadatas } = (await fixture.native('POST', `/collections/${next.id}/get`, { ids })) as {
      metadatas: unknown[];
    };
    await fixture.native('DELETE', '/collections/next');
    expect(metadatas).toHaveLength(ids.length);
    // Of collections that others delete meanwhile on this server, by its own interface, it may show something.
    expect(JSON.stringify(metadatas)).not.toMatch(/former|tags/);
  });

  test('an empty text is a text, and one that is left out is gone', async () => {
    await store.createCollection({ name: 'texts', dimension: 2 });
    await store.upsert('texts', [
      { id: 'empty', vector: [1, 2], text: '' },
      { id: 'gone', vector: [1, 2], text: 'words' },
    ]);
    await store.upsert('texts', [{ id: 'gone', vector: [1, 2] }]);
    expect(await store.fetch('texts', ['empty', 'gone'])).toEqual([
      { id: 'empty', metadata: {}, text: '' },
      { id: 'gone', metadata: {} },
    ]);
    const bare = { include: { metadata: false, text: true, vector: false } };
    expect(await store.fetch('texts', ['empty'], bare)).toEqual([{ id: 'empty', text: '' }]);
  });

  test('what fifteen digits can say comes back exactly, and is found', async () => {
    const numbers = [0.1, -0.1, 1.5, 1e-7, 123456.789, 0.123456789012345, 2 ** 53 - 1, -(2 ** 53 - 1), 0];
    await store.createCollection({ name: 'numbers', dimension: 2 });
    await store.upsert(
      'numbers',
      numbers.map((n, i) => ({ id: `r${i}`, vector: [1, 2], metadata: { n } })),
    );
    const found = await store.fetch(
      'numbers',
      numbers.map((_, i) => `r${i}`),
    );
    expect(found.map((record) => record?.metadata?.['n'])).toEqual(numbers);
    for (const n of numbers) expect(await store.count('numbers', { n })).toBe(1);
  });

  test('deleted ids are not counted: the server counts those that are not there', async () => {
    await store.createCollection({ name: 'ids', dimension: 2 });
    await store.upsert('ids', [{ id: 'a', vector: [1, 2] }]);
    expect(await store.delete('ids', ['a', 'nope'])).toEqual({});
    expect(await store.count('ids')).toBe(0);
  });

  test('a cursor that was made up is refused', async () => {
    await store.createCollection({ name: 'cursors', dimension: 2 });
    await store.upsert('cursors', [
      { id: 'a', vector: [1, 2] },
      { id: 'b', vector: [1, 2] },
    ]);
    const { next } = await store.list('cursors', { limit: 1 });
    const [format, hash] = JSON.parse(Buffer.from(next!, 'base64url').toString()) as [unknown, unknown];
    for (const position of ['-1', '1e3', 'x', ' 1', '9'.repeat(20)]) {
      const after = Buffer.from(JSON.stringify([format, hash, position])).toString('base64url');
      await expect(store.list('cursors', { after })).rejects.toMatchObject({ code: 'INVALID_CURSOR' });
    }
  });

  test('filters as large as are allowed are answered, and those beyond are refused before they are sent', async () => {
    const proxy = await fixture.proxy();
    const own = await fixture.store({ url: proxy.url });
    await own.createCollection({ name: 'filters', dimension: 2 });
    await own.upsert('filters', [{ id: 'a', vector: [1, 2], metadata: { n: 7.5, s: 'x' } }]);
    const atLeast = (count: number) => ({
      $or: Array.from({ length: count }, (_, i) => ({ n: { $gte: i + 100.5 } })),
    });
    // Each is five conditions there: the type, and the two forms of two comparisons.
    expect(await own.count('filters', { $not: atLeast(120) })).toBe(1);
    const before = proxy.seen.length;
    const tooLarge = own.search('filters', { vector: [1, 2], filter: atLeast(121) });
    await expect(tooLarge).rejects.toMatchObject({ code: 'UNSUPPORTED', details: { conditions: 605 } });
    const list = (k: number) => Array.from({ length: 1_000 }, (_, i) => `${k}-${i}`);
    const lists = (count: number) => ({ $or: Array.from({ length: count }, (_, k) => ({ s: { $in: list(k) } })) });
    await expect(own.count('filters', lists(30))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      details: { values: 30_030 },
    });
    await expect(own.list('filters', { filter: { s: { $gt: 'a' } } })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await expect(own.search('filters', { vector: [1, 2], exact: true })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await expect(own.delete('filters', { filter: {} })).rejects.toMatchObject({ code: 'VALIDATION' });
    await expect(own.search('filters', { vector: [1, 2], topK: 0 })).rejects.toMatchObject({ code: 'VALIDATION' });
    expect(proxy.seen.length).toBe(before);
    expect(await own.count('filters', lists(29))).toBe(0);
    const values = Array.from({ length: 1_000 }, (_, i) => `v${i}`);
    expect(await own.count('filters', { s: { $in: [...values.slice(1), 'x'] } })).toBe(1);
    expect(await own.count('filters', { s: { $nin: values } })).toBe(1);
    let nested: Record<string, unknown> = { s: 'x' };
    for (let depth = 0; depth < 14; depth++)
      nested = { $or: [{ $and: [nested, { n: { $exists: true } }] }, { s: 'y' }] };
    expect(await own.count('filters', nested)).toBe(1);
  });

  test('tenants and namespaces whose names would be too long are apart all the same', async () => {
    await store.createCollection({ name: 'long', dimension: 2 });
    const tenant = 't'.repeat(200);
    const provider = await fixture.provider();
    const namespaces = [`${'n'.repeat(254)}a`, `${'n'.repeat(254)}b`, 'é'.repeat(100), 'n', ''];
    for (const namespace of namespaces)
      await storeOn(provider, tenant).upsert('long', [{ id: namespace.slice(-1) || '-', vector: [1, 2] }], {
        namespace,
      });
    for (const namespace of namespaces) {
      const { items } = await storeOn(provider, tenant).list('long', { namespace });
      expect(items.map(({ id }) => id)).toEqual([namespace.slice(-1) || '-']);
    }
    expect(await store.count('long')).toBe(0);
    const names = (await fixture.collections()).map(({ name }) => name).filter((name) => name.startsWith('qm.long.'));
    expect(names.filter((name) => /\.h[0-9a-f]{64}$/.test(name))).toHaveLength(3);
    await store.deleteCollection('long');
    expect((await fixture.collections()).filter(({ name }) => name.startsWith('qm.long.'))).toEqual([]);
  });

  test('a name that ends with a hyphen, one that is the beginning of another, and one called root', async () => {
    for (const name of ['pre-', 'pre', 'root', 'a'.repeat(45)]) {
      await store.createCollection({ name, dimension: 2 });
      await store.upsert(name, [{ id: name, vector: [1, 2] }]);
    }
    expect(await store.deleteCollection('pre')).toBe(true);
    expect(await store.count('pre-')).toBe(1);
    expect(await store.count('root')).toBe(1);
    expect(await store.listCollections()).toEqual(expect.arrayContaining(['a'.repeat(45), 'pre-', 'root']));
  });

  test('what another process has deleted and made anew is met anew', async () => {
    const other = await fixture.store();
    const spec = { name: 'anew', dimension: 2 } as const;
    await store.createCollection(spec);
    await store.upsert('anew', [{ id: 'old', vector: [1, 2] }]);
    await other.deleteCollection('anew');
    await expect(store.fetch('anew', ['old'])).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await other.createCollection(spec);
    expect(await store.fetch('anew', ['old'])).toEqual([undefined]);
    await store.upsert('anew', [{ id: 'new', vector: [1, 2] }]);
    expect((await other.list('anew')).items.map(({ id }) => id)).toEqual(['new']);
    await other.deleteCollection('anew');
    await other.createCollection({ ...spec, dimension: 3 });
    await expect(store.upsert('anew', [{ id: 'x', vector: [1, 2] }])).rejects.toMatchObject({ code: 'CONFLICT' });
    await store.upsert('anew', [{ id: 'x', vector: [1, 2, 3] }]);
    expect(await other.count('anew')).toBe(1);
  });

  test('what is written while another process makes the collection anew is in the new one', async () => {
    const proxy = await fixture.proxy();
    const behind = await fixture.store({ url: proxy.url });
    const spec = { name: 'overtaken', dimension: 2 } as const;
    await store.createCollection(spec);
    // Between the look at the collection and the making of what keeps its records.
    proxy.hold(/^POST .*\/collections$/, async () => {
      await store.deleteCollection('overtaken');
      await store.createCollection(spec);
      await store.upsert('overtaken', [{ id: 'a', vector: [1, 2] }]);
    });
    for (const id of ['b', 'c']) await behind.upsert('overtaken', [{ id, vector: [1, 2] }]);
    for (const view of [store, behind])
      expect((await view.list('overtaken')).items.map(({ id }) => id).sort()).toEqual(['a', 'b', 'c']);
    expect((await fixture.collections()).filter(({ name }) => name.startsWith('qm.overtaken.'))).toHaveLength(2);
  });

  const rest = async (name: string) =>
    (await fixture.collections()).map((kept) => kept.name).filter((kept) => kept.startsWith(`qm.${name}.`));

  test('what is left of a deletion that did not end is not written to by those who remember it', async () => {
    await store.createCollection({ name: 'left', dimension: 2 });
    await store.upsert('left', [{ id: 'a', vector: [1, 2] }]);
    await fixture.native('DELETE', '/collections/qm.left.root');
    const other = await fixture.store();
    await other.createCollection({ name: 'left', dimension: 2 });
    expect(await other.count('left')).toBe(0);
    await store.upsert('left', [{ id: 'late', vector: [1, 2] }]);
    expect((await other.list('left')).items.map(({ id }) => id)).toEqual(['late']);
    expect(await rest('left')).toHaveLength(2);
  });

  test('what is left of a deletion that did not end goes with the next one', async () => {
    await store.createCollection({ name: 'halved', dimension: 2 });
    await store.upsert('halved', [{ id: 'a', vector: [1, 2] }]);
    await fixture.native('DELETE', '/collections/qm.halved.root');
    expect(await store.deleteCollection('halved')).toBe(false);
    expect(await rest('halved')).toEqual([]);
  });

  test('a first write to a collection that is deleted meanwhile leaves nothing', async () => {
    const proxy = await fixture.proxy();
    const behind = await fixture.store({ url: proxy.url });
    await store.createCollection({ name: 'emptied', dimension: 2 });
    proxy.hold(/^POST .*\/collections$/, async () => void (await store.deleteCollection('emptied')));
    const write = behind.upsert('emptied', [{ id: 'a', vector: [1, 2] }]);
    await expect(write).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await rest('emptied')).toEqual([]);
  });

  test('a collection of another program under the name is a conflict, as is one of another metric', async () => {
    await fixture.native('POST', '/collections', { name: 'qm.foreign.root' });
    await expect(store.createCollection({ name: 'foreign', dimension: 2 })).rejects.toMatchObject({ code: 'CONFLICT' });
    await expect(store.count('foreign')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await store.createCollection({ name: 'spaced', dimension: 2, metric: 'dot' });
    const root = (await fixture.collections()).find(({ name }) => name === 'qm.spaced.root')!;
    const name = `qm.spaced.${root.id.replaceAll('-', '')}.t61.n`;
    await fixture.native('POST', '/collections', { name, configuration: { hnsw: { space: 'l2' } } });
    const write = store.upsert('spaced', [{ id: 'a', vector: [1, 2] }]);
    await expect(write).rejects.toMatchObject({ code: 'CONFLICT' });
  });

  test(
    "records that the server's index does not reach are found, with and without a filter",
    async () => {
      await store.createCollection({ name: 'unreached', dimension: 2, metric: 'dot' });
      const records = Array.from({ length: 3_000 }, (_, i) => ({ id: `r${i}`, vector: [i + 1, 1], metadata: { i } }));
      await store.upsert('unreached', records);
      const part = await fixture.part('unreached');
      const native = await fixture.native('POST', `/collections/${part}/query`, {
        query_embeddings: [[1, 1]],
        n_results: 3_000,
        include: [],
      });
      expect((native as { ids: string[][] }).ids[0]!.length).toBeLessThan(3_000);
      const small = await store.search('unreached', { vector: [1, 1], topK: 100, filter: { i: { $lt: 50 } } });
      expect(small.map(({ id }) => id)).toEqual(Array.from({ length: 50 }, (_, i) => `r${49 - i}`));
      expect(small[0]).toEqual({ id: 'r49', metadata: { i: 49 }, score: 51 });
      const all = await store.search('unreached', { vector: [1, 1], topK: 5_000, include: { vector: true } });
      expect(all.map(({ id }) => id)).toEqual(records.map(({ id }) => id).reverse());
      expect(all.at(-1)?.vector).toEqual(Float32Array.of(1, 1));
    },
    LONG,
  );

  test('indexes that the server cannot make are refused', async () => {
    for (const index of [{ kind: 'none' }, { kind: 'ivfflat' }, { kind: 'hnsw', quantize: 'half' }] as const)
      await expect(store.createCollection({ name: 'index', dimension: 2, index })).rejects.toMatchObject({
        code: 'UNSUPPORTED',
      });
    await store.createCollection({ name: 'index', dimension: 2, index: { kind: 'hnsw', m: 32, efConstruction: 200 } });
    await store.upsert('index', [{ id: 'a', vector: [1, 2] }]);
    const part = (await fixture.native('GET', '/collections')) as { id: string; configuration_json: unknown }[];
    const id = await fixture.part('index');
    expect(part.find((known) => known.id === id)?.configuration_json).toMatchObject({
      hnsw: { space: 'cosine', max_neighbors: 32, ef_construction: 200 },
    });
  });

  test('other programs may keep collections with embedding functions beside ours', async () => {
    const configuration = { embedding_function: { type: 'known', name: 'not-installed', config: {} } };
    await fixture.native('POST', '/collections', { name: 'embedded', configuration });
    expect(await store.listCollections()).not.toContain('embedded');
  });

  test(
    'processes that make a collection, and write to a new namespace of it, at the same time',
    async () => {
      const script = join(PROJECT, 'build', 'test', 'children', 'chroma-creator.js');
      const ids = ['one', 'two', 'three', 'four'];
      const children = ids.map((id) =>
        spawn(process.execPath, [script, fixture.url, fixture.database, id], { stdio: ['pipe', 'pipe', 'inherit'] }),
      );
      await Promise.all(children.map(({ stdout }) => once(stdout, 'data')));
      for (const { stdin } of children) stdin.write('go\n');
      const codes = await Promise.all(children.map(async (child) => ((await once(child, 'exit')) as [number])[0]));
      expect(codes).toEqual([0, 0, 0, 0]);
      const raced = storeOn(await fixture.provider(), 'default');
      const { items } = await raced.list('raced', { namespace: 'new' });
      expect(items.map(({ id }) => id).sort()).toEqual([...ids].sort());
      expect((await fixture.collections()).filter(({ name }) => name.startsWith('qm.raced.'))).toHaveLength(2);
    },
    LONG,
  );

  test(
    'lists, counts and deletions of 25,000 records are complete',
    async () => {
      await store.createCollection({ name: 'large', dimension: 2 });
      async function* records() {
        for (let i = 0; i < MANY; i++) yield { id: `r${i}`, vector: [i + 1, 1], metadata: { odd: i % 2 === 1, i } };
      }
      expect(await store.upsert('large', records())).toMatchObject({ written: MANY, failed: 0 });
      const bare = { include: { vector: false, metadata: false, text: false } };
      const seen = new Set<string>();
      for await (const { id } of store.each('large', { limit: 1_000, ...bare })) seen.add(id);
      expect(seen.size).toBe(MANY);
      expect(await store.count('large')).toBe(MANY);
      expect(await store.count('large', { odd: true })).toBe(MANY / 2);
      expect(await store.search('large', { vector: [1, 1], topK: 10_000, ...bare })).toHaveLength(10_000);
      expect(await store.delete('large', { filter: { odd: true } })).toEqual({ deleted: MANY / 2 });
      expect(await store.count('large', { odd: true })).toBe(0);
      expect(await store.count('large')).toBe(MANY / 2);
      expect(await store.delete('large', { all: true })).toEqual({ deleted: MANY / 2 });
      expect(await store.count('large')).toBe(0);
    },
    LONG,
  );
});
