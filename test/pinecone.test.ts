/** Pinecone's provider on a stand-in: what the conformance suite does not ask. */
import { describe, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect, promisify } from 'node:util';
import { systemClock } from '../src/clock.js';
import { loadSettings } from '../src/settings.js';
import { registry } from '../src/registry.js';
import { compareFilters } from '../src/testing/vector-properties.js';
import { storeOn, VectorFixture } from '../src/testing/vector-target.js';
import { createProvider, fill, openPinecone, usePinecone } from './support/pinecone/fixture.js';

const opened = usePinecone();

const far = (): { now: Date; deadline: number } => ({ now: new Date(), deadline: systemClock.monotonic() + 60_000 });

describe('requests', () => {
  test('are cut by their size and by their number', async () => {
    const { store, standIn } = await opened();
    await fill(store, 'large', 400, 1_536);
    const sizes = standIn.seen('upsertVectors').map(({ bytes }) => bytes);
    expect(sizes.length).toBeGreaterThan(2);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(2 * 1_048_576);
    expect(await store.count('large')).toBe(400);
    const ids = Array.from({ length: 400 }, (_, i) => `r${i}`);
    expect((await store.fetch('large', ids)).filter((record) => record !== undefined)).toHaveLength(400);
    expect(standIn.seen('fetchVectors')).toHaveLength(4);
    const long = Array.from({ length: 30 }, (_, i) => `${'é'.repeat(80)}${i}`);
    expect(await store.fetch('large', long)).toHaveLength(30);
  });

  test('refuse what Pinecone cannot keep before the first one', async () => {
    const { store, standIn } = await opened();
    await fill(store, 'docs', 1);
    const before = standIn.requests.length;
    const vector = [1, 0];
    const good = { id: 'good', vector };
    const large = { id: 'large', vector, metadata: { a: 'x'.repeat(30_000) }, text: 'y'.repeat(20_000) };
    const id = '日'.repeat(100);
    // More than a batch before the one that is refused.
    const many = Array.from({ length: 1_500 }, (_, i) => ({ ...good, id: `g${i}` }));
    for (const [record, words] of [
      [large, 'the record has metadata and text of 500'],
      [{ id, vector }, 'the record has an id of 900 bytes'],
    ] as const) {
      const refusal = {
        code: 'VALIDATION',
        message: expect.stringContaining(`records[1500]: ${words}`) as unknown,
        details: { key: 'records[1500]' },
      };
      await expect(store.upsert('docs', [...many, record])).rejects.toMatchObject(refusal);
      await expect(store.check('docs', [...many, record])).rejects.toMatchObject(refusal);
    }
    for (const refused of [store.fetch('docs', [id]), store.delete('docs', [id])])
      await expect(refused).rejects.toMatchObject({ code: 'VALIDATION', details: { key: 'id', bytes: 900 } });
    expect(standIn.requests.length).toBe(before);
    function* stream() {
      yield* many;
      yield large;
      yield good;
    }
    expect(await store.upsert('docs', stream())).toMatchObject({
      ...{ written: 1_501, failed: 1 },
      failures: [{ index: 1_500, id: 'large', error: { code: 'VALIDATION' } }],
    });
  });

  test('for more than a result can hold go by the ids', async () => {
    const { store, standIn } = await opened();
    await store.createCollection({ name: 'docs', dimension: 2 });
    const records = Array.from({ length: 300 }, (_, i) => ({
      id: `r${i}`,
      vector: [1, i],
      metadata: { a: `${i}`.padEnd(20_000, 'x') },
    }));
    await store.upsert('docs', records);
    const hits = await store.search<{ a: string }>('docs', { vector: [1, 0], topK: 300 });
    expect(hits).toHaveLength(300);
    expect(hits.every(({ id, metadata }) => metadata?.a.startsWith(id.slice(1)))).toBe(true);
    expect(
      standIn.seen('queryVectors').map(({ body }) => (body as { includeMetadata: boolean }).includeMetadata),
    ).toEqual([true, false]);
  });

  test('name a sparse vector beside the dense one, and alone without it', async () => {
    const { store, standIn } = await opened();
    const sparse = { indices: [9, 4], values: [0.5, 2] };
    const kept = { indices: [4, 9], values: [2, 0.5] };
    for (const dimension of [2, 0]) {
      const name = `d${dimension}`;
      const near = dimension === 0 ? { sparse } : { vector: [1, 0], sparse };
      await store.createCollection({ name, dimension, sparse: true });
      await store.upsert(name, [{ id: 'a', ...near }]);
      expect((await store.search(name, near)).map(({ id }) => id)).toEqual(['a']);
    }
    const both = { metric: 'dotproduct', vector_type: 'dense', dimension: 2 };
    const [first, second] = standIn.seen('create_index').map(({ body }) => body as object);
    expect(first).toMatchObject(both);
    expect(second).toMatchObject({ metric: 'dotproduct', vector_type: 'sparse' });
    expect(second).not.toHaveProperty('dimension');
    expect(standIn.seen('upsertVectors').map(({ body }) => (body as { vectors: object[] }).vectors)).toEqual([
      [{ id: 'a', values: [1, 0], sparseValues: kept, metadata: {} }],
      [{ id: 'a', sparseValues: kept, metadata: {} }],
    ]);
    const queries = standIn.seen('queryVectors').map(({ body }) => body as object);
    expect(queries[0]).toMatchObject({ vector: [1, 0], sparseVector: kept });
    expect(queries[1]).toMatchObject({ sparseVector: kept });
    expect(queries[1]).not.toHaveProperty('vector');
  });

  test('name a namespace for each tenant and namespace', async () => {
    const { provider, standIn } = await opened();
    await storeOn(provider, 'acme').createCollection({ name: 'docs', dimension: 2 });
    const scopes = [
      ['default', '', '__default__'],
      ['acme', '', 'acme/'],
      ['acme', 'user.1', 'acme/user.1'],
      ['a/b', 'c', 'a%2Fb/c'],
      ['a', 'b/c', 'a/b%2Fc'],
      ['é', 'x y', '%C3%A9/x%20y'],
    ] as const;
    for (const [tenant, namespace] of scopes) {
      const store = storeOn(provider, tenant);
      await store.upsert('docs', [{ id: 'same', vector: [1, 0] }], { namespace });
      expect(await store.count('docs', {}, { namespace })).toBe(1);
      expect(await store.fetch('docs', ['same'], { namespace })).toHaveLength(1);
    }
    expect([...standIn.indexes.get('docs')!.namespaces.keys()]).toEqual(scopes.map(([, , name]) => name));
  });

  test('name the hash of a tenant and a namespace that are too long, apart from every other', async () => {
    const { provider, standIn } = await opened();
    await storeOn(provider, 'acme').createCollection({ name: 'docs', dimension: 2 });
    const long = 'é'.repeat(100);
    const scopes = ['ta', 'tb'].flatMap((tenant) =>
      [long, `${long}b`].map((namespace) => [tenant, namespace] as const),
    );
    for (const [tenant, namespace] of scopes) {
      const store = storeOn(provider, tenant);
      await store.upsert('docs', [{ id: `${tenant} ${namespace.length}`, vector: [1, 0] }], { namespace });
    }
    for (const [tenant, namespace] of scopes) {
      const { items } = await storeOn(provider, tenant).list('docs', { namespace });
      expect(items.map(({ id }) => id)).toEqual([`${tenant} ${namespace.length}`]);
    }
    const names = [...standIn.indexes.get('docs')!.namespaces.keys()];
    expect(names).toHaveLength(4);
    expect(names.every((name) => /^sha256-[0-9a-f]{64}$/.test(name))).toBe(true);
  });

  test('have a URL that is not too long, whatever the names take', async () => {
    const { provider } = await opened();
    // Both together as long as a namespace may be.
    const long = 'é'.repeat(42);
    const store = storeOn(provider, long);
    const namespace = long;
    await store.createCollection({ name: 'docs', dimension: 2 });
    const ids = Array.from({ length: 100 }, (_, i) => `${'é'.repeat(80)}${i}`);
    await store.upsert(
      'docs',
      ids.map((id) => ({ id, vector: [1, 0] })),
      { namespace },
    );
    expect((await store.fetch('docs', ids, { namespace })).map((record) => record?.id)).toEqual(ids);
    expect((await store.list('docs', { namespace, limit: 100 })).items).toHaveLength(100);
  });

  test('that count by a filter change nothing and name no id', async () => {
    const { store, standIn } = await opened();
    await fill(store, 'docs', 10);
    expect(await store.count('docs', { i: { $gte: 4 } })).toBe(6);
    expect(standIn.seen('updateVector').map(({ body }) => body)).toEqual([
      { namespace: 'acme/', filter: { i: { $gte: 4 } }, dryRun: true },
    ]);
  });
});

describe('a delete by filter', () => {
  test.each([
    ['at once', true, 1],
    ['by pages, where the index takes no filter', false, 27],
  ])('is complete for 25,000 records, %s', async (_name, deletesByFilter, deletions) => {
    const { store, standIn, provider } = await opened({ deletesByFilter, lag: 1 });
    await fill(store, 'docs', 25_300);
    await provider.settle!(far());
    expect(await store.delete('docs', { filter: { i: { $lt: 25_000 } } })).toEqual({});
    await provider.settle!(far());
    expect(await store.count('docs')).toBe(300);
    expect(await store.count('docs', { i: { $lt: 25_000 } })).toBe(0);
    // Refused once, then 1,000 ids each.
    expect(standIn.seen('deleteVectors').length).toBeLessThanOrEqual(deletions);
  });
});

describe('what this process wrote', () => {
  test('is seen by a session, and by no other read until it is indexed', async () => {
    const { store } = await opened({ lag: 2 });
    await store.createCollection({ name: 'docs', dimension: 2 });
    const { token } = await store.upsert('docs', [{ id: 'a', vector: [1, 0] }]);
    expect(token).toBe('1');
    expect(await store.search('docs', { vector: [1, 0] })).toEqual([]);
    expect(await store.search('docs', { vector: [1, 0], consistency: 'session' })).toHaveLength(1);
    await store.delete('docs', ['a']);
    expect(await store.search('docs', { vector: [1, 0], consistency: 'session' })).toEqual([]);
  });

  test('in one namespace is not waited for in another', async () => {
    const { store, standIn } = await opened({ lag: 1_000 });
    await store.createCollection({ name: 'docs', dimension: 2 });
    await store.upsert('docs', [{ id: 'a', vector: [1, 0] }]);
    const query = { vector: [1, 0], namespace: 'other', consistency: 'session' } as const;
    expect(await store.search('docs', query)).toEqual([]);
    expect(standIn.seen('queryVectors')).toHaveLength(1);
  });

  test('and is not indexed within the deadline is a TIMEOUT', async () => {
    const { store } = await opened({ lag: 1_000 });
    await store.createCollection({ name: 'docs', dimension: 2 });
    await store.upsert('docs', [{ id: 'a', vector: [1, 0] }]);
    // Time enough for a first read: one that is not answered has another message.
    const search = store.search('docs', { vector: [1, 0], consistency: 'session', timeout: 3_000 });
    await expect(search).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringContaining('indexed') as unknown,
    });
  });

  test('and cannot be told of is UNSUPPORTED, not passed over', async () => {
    const { store } = await opened({ marks: false });
    await store.createCollection({ name: 'docs', dimension: 2 });
    expect(await store.upsert('docs', [{ id: 'a', vector: [1, 0] }])).toEqual({ written: 1, failed: 0, failures: [] });
    expect(await store.search('docs', { vector: [1, 0] })).toHaveLength(1);
    const search = store.search('docs', { vector: [1, 0], consistency: 'session' });
    await expect(search).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  });
});

test('filters mean the same where $ne matches what lacks the field', async () => {
  const older = await openPinecone({ missingIsUnequal: true });
  const fixture = new VectorFixture({ name: 'the older reading', open: () => Promise.resolve(older) }, older);
  try {
    expect((await compareFilters(fixture, { cases: 200, seed: 1 })).cases).toBe(200);
  } finally {
    await fixture.close();
  }
});

test('a cursor that the service does not take is INVALID_CURSOR', async () => {
  const { store, standIn } = await opened();
  await fill(store, 'docs', 5);
  const { next } = await store.list('docs', { limit: 2 });
  standIn.fail('listVectors', { status: 400, message: 'Pagination token expired' });
  await expect(store.list('docs', { limit: 2, after: next! })).rejects.toMatchObject({ code: 'INVALID_CURSOR' });
});

test('settings: the key by its usual variable, never shown', async () => {
  const settings = await loadSettings({
    registry,
    overrides: { databases: { main: 'memory:' }, vectors: { default: 'pinecone', pinecone: { region: 'eu-west-1' } } },
    environment: { PINECONE_API_KEY: 'pcsk_SECRET', STORAGE_VECTORS_PINECONE_CLOUD: 'gcp' },
  });
  expect(settings.vectors.providers['pinecone']).toMatchObject({
    apiKey: 'pcsk_SECRET',
    cloud: 'gcp',
    region: 'eu-west-1',
    controllerHost: 'https://api.pinecone.io',
  });
  expect(inspect(settings, { depth: 10 }) + JSON.stringify(settings)).not.toContain('SECRET');
  for (const wrong of [{ controllerHost: 'ftp://x' }, { controllerHost: 'https://u:p@x' }, { region: '' }])
    expect(() => createProvider({ apiKey: 'k', ...wrong })).toThrow(expect.objectContaining({ code: 'CONFIGURATION' }));
});

test('needs the package, and says which', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'quartermaster-pinecone-'));
  try {
    await cp(join(import.meta.dirname, '..', 'src'), join(directory, 'src'), { recursive: true });
    await writeFile(join(directory, 'package.json'), '{"type":"module"}');
    const script = `
      import { pinecone } from './src/vectors/pinecone.js';
      import { systemClock as clock } from './src/clock.js';
      const provider = pinecone.create({ apiKey: 'k' }, { clock, name: 'vectors:pinecone' });
      await provider.open({ clock, signal: new AbortController().signal }).catch((e) => console.log(JSON.stringify(e)));`;
    const run = promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { cwd: directory });
    expect(JSON.parse((await run).stdout)).toMatchObject({
      code: 'DEPENDENCY_MISSING',
      message: expect.stringContaining('npm install @pinecone-database/pinecone') as unknown,
    });
  } finally {
    await rm(directory, { recursive: true });
  }
});
