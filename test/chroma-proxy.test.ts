/** Chroma behind a proxy that asks for a token, and that has it below a path. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { inspect } from 'node:util';
import { openStorage, type StorageManager } from '../src/index.js';
import { ChromaFixture, describeChroma } from './support/chroma/fixture.js';
import type { Guard } from './support/chroma/proxy.js';

const TOKEN = 'hunter2TheSecret';
const HEADERS: Readonly<Record<string, readonly [string, string]>> = {
  authorization: ['authorization', `Bearer ${TOKEN}`],
  'x-chroma-token': ['x-chroma-token', TOKEN],
};

let fixture: ChromaFixture;

const open = (settings: Record<string, unknown>): Promise<StorageManager> =>
  openStorage(
    {
      databases: { main: 'memory:' },
      vectors: { chroma: { serverDatabase: fixture.database, retry: { attempts: 2, baseDelay: 1 }, ...settings } },
    },
    { environment: {} },
  );

/** Everything that a store does, once. */
async function use(storage: StorageManager, name: string): Promise<void> {
  const store = storage.vectors('chroma');
  await store.createCollection({ name, dimension: 2 });
  await store.upsert(name, [
    { id: 'a', vector: [1, 0], metadata: { n: 1 } },
    { id: 'b', vector: [0, 1], metadata: { n: 2 } },
  ]);
  expect((await store.search(name, { vector: [1, 0.1], topK: 1 })).map(({ id }) => id)).toEqual(['a']);
  expect(await store.count(name, { n: { $gt: 1 } })).toBe(1);
  expect((await store.list(name)).items.map(({ id }) => id)).toEqual(['a', 'b']);
  expect(await store.delete(name, { filter: { n: 1 } })).toEqual({ deleted: 1 });
  expect((await store.fetch(name, ['a', 'b'])).map((record) => record?.id)).toEqual([undefined, 'b']);
  expect(await store.listCollections()).toContain(name);
  expect((await storage.health()).components['vectors:chroma']?.status).toBe('healthy');
  expect(await store.deleteCollection(name)).toBe(true);
}

describeChroma('chroma behind a proxy', () => {
  beforeAll(async () => {
    fixture = await ChromaFixture.open();
  });
  afterAll(() => fixture.close());

  test.each(['', '/deep/down'])('that asks for a token, at the path "%s"', async (prefix) => {
    for (const [i, [tokenHeader, header]] of Object.entries(HEADERS).entries()) {
      const { url } = await fixture.proxy({ prefix, header });
      await using storage = await open({ url: `${url}${prefix}`, token: TOKEN, tokenHeader });
      await use(storage, `docs-${prefix.length}-${i}`);
      expect(inspect(storage.settings, { depth: 9 }) + JSON.stringify(storage.settings)).not.toContain(TOKEN);
    }
  });

  test.each<[string, Record<string, unknown>, number]>([
    ['no token', {}, 401],
    ['another token', { token: `${TOKEN}.but.not.this.one` }, 403],
    ['the token in the other header', { token: TOKEN, tokenHeader: 'x-chroma-token' }, 401],
  ])('with %s it is UNAUTHORIZED at once, and the token is nowhere', async (_what, settings, status) => {
    const guard: Guard = { header: HEADERS['authorization']! };
    const proxy = await fixture.proxy(guard);
    const error = await open({ url: proxy.url, ...settings }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code: 'UNAUTHORIZED', details: { status } });
    // Tried again it would be refused again.
    expect(proxy.seen.length).toBe(1);
    expect(inspect(error, { depth: 9 }) + JSON.stringify(error) + String((error as Error).stack)).not.toContain(TOKEN);
  });

  test('at another path than the settings say, what answers is not Chroma', async () => {
    const { url } = await fixture.proxy({ prefix: '/deep' });
    await expect(open({ url })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });
});
