/** Pinecone's provider on a stand-in: indexes, which take their time to come and go. */
import { describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { systemClock, type Clock } from '../src/clock.js';
import type { VectorStore } from '../src/vectors/vector-store.js';
import { fill, usePinecone } from './support/pinecone/fixture.js';

const opened = usePinecone();

describe('an index', () => {
  test('is waited for until it is ready, and until it is gone', async () => {
    const { store, standIn } = await opened({ unready: 4, terminating: 3 });
    await store.createCollection({ name: 'docs', dimension: 2 });
    expect(standIn.indexes.get('docs')).toMatchObject({ unready: 0 });
    expect(await store.search('docs', { vector: [1, 0] })).toEqual([]);
    expect(await store.deleteCollection('docs')).toBe(true);
    expect(standIn.indexes.size).toBe(0);
  });

  test('that is not ready in time is a TIMEOUT, and waited for again', async () => {
    const { store, standIn } = await opened({ unready: 1_000 });
    const spec = { name: 'docs', dimension: 2 };
    await expect(store.createCollection(spec, { timeout: 2_000 })).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringContaining('call createCollection again') as unknown,
    });
    await expect(store.search('docs', { vector: [1, 0], timeout: 200 })).rejects.toMatchObject({ code: 'TIMEOUT' });
    standIn.indexes.get('docs')!.unready = 1;
    await store.createCollection(spec);
    expect(await store.search('docs', { vector: [1, 0] })).toEqual([]);
  });

  test('that is in use is described again by one of those who use it, and used on where it cannot be', async () => {
    let later = 0;
    const clock: Clock = { ...systemClock, monotonic: () => systemClock.monotonic() + later };
    const { store, standIn } = await opened({}, {}, clock);
    await fill(store, 'docs', 1);
    const described = standIn.seen('describe_index').length;
    const search = (): Promise<unknown[]> => store.search('docs', { vector: [1, 0] });
    expect(await search()).toHaveLength(1);
    expect(standIn.seen('describe_index')).toHaveLength(described);
    later += 6_000;
    await Promise.all(Array.from({ length: 10 }, search));
    expect(standIn.seen('describe_index')).toHaveLength(described + 1);
    later += 6_000;
    standIn.fail('describe_index', { status: 503 });
    expect(await search()).toHaveLength(1);
    expect(await search()).toHaveLength(1);
    expect(standIn.seen('describe_index')).toHaveLength(described + 2);
  });

  describe('that is in use is used on', () => {
    let later = 0;
    const clock: Clock = { ...systemClock, monotonic: () => systemClock.monotonic() + later };
    // The deadline is told by a clock that does not run ahead.
    const search = (store: VectorStore, timeout = 30_000): Promise<unknown[]> =>
      store.search('docs', { vector: [1, 0], timeout: later + timeout });

    test('while the control plane hangs, also by who has little time', async () => {
      const { store, standIn } = await opened({}, {}, clock);
      await fill(store, 'docs', 1);
      later += 6_000;
      standIn.fail('describe_index', 'hang', 1_000);
      // Less than twice what a description may take.
      expect(await search(store, 3_800)).toHaveLength(1);
      const described = standIn.seen('describe_index').length;
      expect(await search(store, 3_800)).toHaveLength(1);
      expect(standIn.seen('describe_index')).toHaveLength(described);
    });

    test('after a call to it that failed, while the control plane fails', async () => {
      const { store, standIn } = await opened({}, {}, clock);
      await fill(store, 'docs', 1);
      standIn.fail('describe_index', { status: 503 }, 1_000);
      standIn.fail('queryVectors', { status: 503 }, 3);
      await expect(search(store)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      expect(await search(store)).toHaveLength(1);
    });

    test('after a caller that gave up while it was described, and is described for the next one', async () => {
      const { store, standIn } = await opened({}, {}, clock);
      await fill(store, 'docs', 1);
      later += 6_000;
      standIn.fail('describe_index', 'hang');
      const controller = new AbortController();
      const described = standIn.seen('describe_index').length;
      const given = store.search('docs', { vector: [1, 0], signal: controller.signal, timeout: later + 30_000 });
      const refused = expect(given).rejects.toMatchObject({ code: 'ABORTED' });
      while (standIn.seen('describe_index').length === described) await new Promise((resolve) => setImmediate(resolve));
      controller.abort();
      await refused;
      standIn.fail('describe_index', { status: 503 }, 1_000);
      expect(await search(store)).toHaveLength(1);
      expect(standIn.seen('describe_index')).toHaveLength(described + 2);
    });

    test('after a read of a namespace that is not there, while the control plane fails', async () => {
      const { store, standIn } = await opened({}, {}, clock);
      await fill(store, 'docs', 1);
      standIn.fail('describe_index', { status: 503 }, 1_000);
      standIn.fail('queryVectors', { status: 404, message: 'Namespace not found' });
      await expect(search(store)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      expect(await search(store)).toHaveLength(1);
    });
  });

  test('that is being deleted is made anew afterwards', async () => {
    const { store, standIn } = await opened({ terminating: 2 });
    await store.createCollection({ name: 'docs', dimension: 2 });
    const deletion = store.deleteCollection('docs');
    while (standIn.indexes.get('docs')?.terminating === undefined)
      await new Promise((resolve) => setImmediate(resolve));
    await store.createCollection({ name: 'docs', dimension: 3 });
    expect(await deletion).toBe(true);
    expect(standIn.indexes.get('docs')).toMatchObject({ dimension: 3, terminating: undefined });
  });

  test('of somebody else is left alone', async () => {
    const { store, standIn } = await opened();
    await store.createCollection({ name: 'docs', dimension: 2 });
    standIn.indexes.get('docs')!.tags = { team: 'search' };
    const error = { code: 'CONFLICT', message: expect.stringContaining('no collection') as unknown };
    await expect(store.createCollection({ name: 'docs', dimension: 2 })).rejects.toMatchObject(error);
    expect(await store.listCollections()).toEqual([]);
    expect(await store.deleteCollection('docs')).toBe(false);
    expect(standIn.indexes.size).toBe(1);
  });

  test('that is protected or beyond the quota is refused in the words of the service', async () => {
    const { store, standIn } = await opened({ maxIndexes: 1 });
    await store.createCollection({ name: 'docs', dimension: 2 });
    await expect(store.createCollection({ name: 'more', dimension: 2 })).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
      message: expect.stringContaining('quota') as unknown,
    });
    standIn.indexes.get('docs')!.deletionProtection = 'enabled';
    await expect(store.deleteCollection('docs')).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
      message: expect.stringContaining('Deletion protection') as unknown,
    });
  });

  test('keeps its declaration in its tags, and others beside it', async () => {
    const { store, standIn } = await opened();
    const fields = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`field${i}.of.some.length`, 'string']));
    await store.createCollection({ name: 'docs', dimension: 2, fields: fields as Record<string, 'string'> });
    const { tags } = standIn.indexes.get('docs')!;
    expect(Object.keys(tags).every((key) => /^qm-(schema-\d+|made)$/.test(key))).toBe(true);
    standIn.indexes.get('docs')!.tags = { ...tags, team: 'search' };
    expect((await store.describeCollection('docs')).fields).toEqual(fields);
  });

  test('whose name or declaration Pinecone cannot keep is refused before any request', async () => {
    const { store, standIn } = await opened();
    const before = standIn.requests.length;
    await expect(store.createCollection({ name: 'docs-', dimension: 2 })).rejects.toMatchObject({
      code: 'VALIDATION',
      details: { key: 'name' },
    });
    for (const [index, words] of [
      [{ kind: 'none' }, 'index.kind: none'],
      [{ kind: 'ivfflat', lists: 10 }, 'index.kind: ivfflat'],
      [{ kind: 'hnsw', quantize: 'half' }, 'index.quantize: half'],
      [{ kind: 'hnsw', m: 32 }, 'index.m: 32'],
      [{ kind: 'hnsw', efConstruction: 200 }, 'index.efConstruction: 200'],
    ] as const)
      await expect(store.createCollection({ name: 'docs', dimension: 2, index })).rejects.toMatchObject({
        code: 'UNSUPPORTED',
        message: expect.stringContaining(words) as unknown,
      });
    // Names that no compression makes shorter than half of them.
    const random = (i: number): string => createHash('sha512').update(String(i)).digest('hex');
    const fields = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [random(i), 'string']));
    await expect(
      store.createCollection({ name: 'docs', dimension: 2, fields: fields as Record<string, 'string'> }),
    ).rejects.toMatchObject({ code: 'UNSUPPORTED', details: { key: 'fields' } });
    expect(standIn.requests.length).toBe(before);
    const index = { kind: 'hnsw', m: 16, efConstruction: 64, quantize: 'auto' } as const;
    await store.createCollection({ name: 'docs', dimension: 2, index });
    await store.createCollection({ name: 'docs', dimension: 2, index: { kind: 'hnsw' } });
    expect((await store.describeCollection('docs')).index).toEqual(index);
  });
});
