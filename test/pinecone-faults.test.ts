/** What the network and the service can do to Pinecone's provider, on a stand-in that does it. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { systemClock, type Clock } from '../src/clock.js';
import type { StorageError } from '../src/errors.js';
import { storeOn } from '../src/testing/vector-target.js';
import { AheadClock } from './support/ahead-clock.js';
import { createProvider, fill, openPinecone, type OpenPinecone } from './support/pinecone/fixture.js';
import type { Fault } from './support/pinecone/stand-in.js';

const KEY = 'pcsk_SECRET_key_that_nobody_may_see';

let open: OpenPinecone | undefined;
afterEach(async () => {
  await open?.close();
  open = undefined;
});

async function failed(promise: Promise<unknown>): Promise<StorageError> {
  return promise.then(
    () => {
      throw new Error('It did not fail');
    },
    (error: StorageError) => error,
  );
}

/** Of an attempt, in milliseconds. */
const ATTEMPT = 10_000;

const PASSING: [string, Fault][] = [
  ['429', { status: 429 }],
  ['500', { status: 500 }],
  ['503', { status: 503 }],
  ['a connection that is reset', 'reset'],
  ['half an answer', 'half'],
  ['an HTML page with the status 200', { html: 200 }],
  ['an HTML page with the status 502', { html: 502 }],
  ['an HTML page with the status 404', { html: 404 }],
  ['an answer that is lost', 'lost'],
  ['no answer', 'hang'],
];

describe('a fault that passes', () => {
  beforeEach(async () => {
    const clock = new AheadClock();
    open = await openPinecone({}, { requestTimeout: ATTEMPT }, clock);
    open.standIn.onHang = () => clock.skip(ATTEMPT);
    await fill(open.store, 'docs', 3);
  });

  test.each(PASSING)('%s: the request is made again', async (_name, fault) => {
    const { standIn, store } = open!;
    for (const operation of ['queryVectors', 'upsertVectors', 'deleteVectors']) standIn.fail(operation, fault);
    expect(await store.search('docs', { vector: [1, 0], topK: 3 })).toHaveLength(3);
    expect(await store.upsert('docs', [{ id: 'new', vector: [1, 1] }])).toMatchObject({ written: 1 });
    await store.delete('docs', ['r0']);
    expect(await store.count('docs')).toBe(3);
    expect(standIn.seen('queryVectors')).toHaveLength(2);
    expect(standIn.seen('upsertVectors')).toHaveLength(3);
    expect(standIn.seen('deleteVectors')).toHaveLength(2);
  });

  test.each(PASSING)('%s, each time: the request is given up', async (_name, fault) => {
    const { standIn, store } = open!;
    standIn.fail('queryVectors', fault, 3);
    const error = await failed(store.search('docs', { vector: [1, 0] }));
    expect([error.code, error.retryable]).toEqual([fault === 'hang' ? 'TIMEOUT' : 'UNAVAILABLE', true]);
    expect(standIn.seen('queryVectors')).toHaveLength(3);
    expect(await store.search('docs', { vector: [1, 0] })).toHaveLength(3);
  });

  test('a collection whose making and deletion lose their answers', async () => {
    const { standIn, store } = open!;
    standIn.fail('create_index', 'lost');
    await store.createCollection({ name: 'twice', dimension: 2 });
    expect(standIn.seen('create_index')).toHaveLength(3);
    standIn.fail('delete_index', 'lost');
    expect(await store.deleteCollection('twice')).toBe(true);
    expect(await store.listCollections()).toEqual(['docs']);
  });
});

test('Retry-After is waited for', async () => {
  const waits: number[] = [];
  // Long waits are told and cut short; the time of an attempt is longer still.
  const clock: Clock = {
    ...systemClock,
    after(milliseconds, callback) {
      const isWait = milliseconds >= 2_000 && milliseconds < 10_000;
      if (isWait) waits.push(Math.floor(milliseconds / 1_000));
      return systemClock.after(isWait ? 1 : milliseconds, callback);
    },
  };
  open = await openPinecone({}, {}, clock);
  await fill(open.store, 'docs', 1);
  open.standIn.fail('queryVectors', { status: 429, retryAfter: '7' });
  open.standIn.fail('queryVectors', { status: 503, retryAfter: '3' });
  expect(await open.store.search('docs', { vector: [1, 0] })).toHaveLength(1);
  expect(waits).toEqual([7, 3]);
});

describe('a fault that stays', () => {
  test.each([
    [400, 'VALIDATION'],
    [401, 'UNAUTHORIZED'],
    [402, 'UNAUTHORIZED'],
    [403, 'UNAUTHORIZED'],
    [409, 'ALREADY_EXISTS'],
    [412, 'CONFLICT'],
    [422, 'VALIDATION'],
    [501, 'UNSUPPORTED'],
  ])('%s is %s at once, with the words of the service', async (status, code) => {
    open = await openPinecone();
    await fill(open.store, 'docs', 1);
    open.standIn.fail('listVectors', { status, message: 'Of no use' });
    const error = await failed(open.store.list('docs'));
    expect(error).toMatchObject({ code, retryable: false, component: 'vectors:pinecone', details: { status } });
    expect(error.message).toContain('Of no use');
    expect(open.standIn.seen('listVectors')).toHaveLength(1);
  });

  test('a namespace that is not there is empty, a collection that is not there is NOT_FOUND', async () => {
    open = await openPinecone();
    const { standIn, store } = open;
    await fill(store, 'docs', 1);
    await store.delete('docs', { all: true }, { namespace: 'none' });
    for (const operation of ['queryVectors', 'fetchVectors', 'listVectors']) standIn.fail(operation, { status: 404 });
    expect(await store.search('docs', { vector: [1, 0] })).toEqual([]);
    expect(await store.fetch('docs', ['r0'])).toEqual([undefined]);
    expect(await store.list('docs')).toEqual({ items: [] });
    standIn.indexes.delete('docs');
    expect(await failed(store.search('docs', { vector: [1, 0] }))).toMatchObject({ code: 'NOT_FOUND' });
    expect(await failed(store.upsert('docs', [{ id: 'a', vector: [1, 0] }]))).toMatchObject({ code: 'NOT_FOUND' });
  });

  test('nobody there: UNAVAILABLE, with the reason', async () => {
    const { standIn, ...opened } = await openPinecone();
    const { settings } = standIn;
    await fill(opened.store, 'docs', 1);
    await standIn.stop();
    const error = await failed(opened.store.search('docs', { vector: [1, 0] }));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', message: expect.stringContaining('ECONNREFUSED') as unknown });
    expect(await opened.provider.check(new AbortController().signal)).toMatchObject({
      status: 'unhealthy',
      message: expect.stringContaining('ECONNREFUSED') as unknown,
    });
    await opened.provider.close(systemClock.monotonic());
    const other = createProvider(settings);
    const opening = other.open({ clock: systemClock, signal: new AbortController().signal });
    expect(await failed(opening)).toMatchObject({ code: 'UNAVAILABLE' });
  });
});

describe('a request that hangs', () => {
  beforeEach(async () => {
    open = await openPinecone();
    await fill(open.store, 'docs', 1);
    open.standIn.fail('queryVectors', 'hang');
  });

  test('ends with its caller', async () => {
    const controller = new AbortController();
    const search = failed(open!.store.search('docs', { vector: [1, 0], signal: controller.signal }));
    while (open!.standIn.seen('queryVectors').length === 0) await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    expect((await search).code).toBe('ABORTED');
  });

  test('ends with the deadline of the operation', async () => {
    expect((await failed(open!.store.search('docs', { vector: [1, 0], timeout: 100 }))).code).toBe('TIMEOUT');
  });

  test('ends with the close, and leaves the check a way', async () => {
    const search = failed(open!.store.search('docs', { vector: [1, 0] }));
    while (open!.standIn.seen('queryVectors').length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(await open!.provider.check(new AbortController().signal)).toMatchObject({
      status: 'healthy',
      details: { active: 1, waiting: 0, max: 16 },
    });
    await open!.provider.close(systemClock.monotonic() + 50);
    expect((await search).code).toBe('CLOSED');
    expect((await failed(open!.store.count('docs'))).code).toBe('CLOSED');
  });
});

test('requests at once are no more than the settings say', async () => {
  open = await openPinecone({}, { maxConcurrency: 3 });
  const { standIn, store, provider } = open;
  await fill(store, 'docs', 1_000);
  const ids = Array.from({ length: 1_000 }, (_, i) => `r${i}`);
  standIn.fail('fetchVectors', 'hang', 3);
  const controller = new AbortController();
  const fetch = failed(store.fetch('docs', ids, { signal: controller.signal }));
  const figures = async (): Promise<unknown> => (await provider.check(controller.signal)).details;
  const allCame = async (): Promise<boolean> =>
    ((await figures()) as { waiting: number }).waiting === 7 && standIn.seen('fetchVectors').length >= 3;
  while (!(await allCame())) await new Promise((resolve) => setImmediate(resolve));
  expect(await figures()).toEqual({ active: 3, waiting: 7, max: 3 });
  expect(standIn.seen('fetchVectors')).toHaveLength(3);
  controller.abort();
  expect((await fetch).code).toBe('ABORTED');
  expect((await store.fetch('docs', ids)).every((record) => record !== undefined)).toBe(true);
});

describe('the key', () => {
  const shown = (value: unknown): string => {
    const text = [inspect(value, { depth: 20, showHidden: true }), JSON.stringify(value)];
    for (let cause = value as { cause?: unknown } | undefined; cause instanceof Error; cause = cause.cause as Error)
      text.push(cause.message, String(cause.stack), inspect(cause, { depth: 20, showHidden: true }));
    return text.join('\n');
  };

  test('is in no error, and in nothing that is shown of the provider', async () => {
    open = await openPinecone({ apiKey: KEY });
    const { standIn, store, provider } = open;
    await fill(store, 'docs', 1);
    expect(shown(provider)).not.toContain(KEY);
    expect(shown(store)).not.toContain(KEY);
    const faults: Fault[] = [...PASSING.map(([, fault]) => fault), { status: 400, message: `Bad header ${KEY}` }];
    for (const fault of faults.filter((fault) => fault !== 'hang')) {
      standIn.fail('queryVectors', fault, 3);
      const error = await failed(store.search('docs', { vector: [1, 0] }));
      expect(shown(error)).not.toContain(KEY);
      standIn.recover();
    }
  });

  test('that is refused is UNAUTHORIZED, and is not tried again', async () => {
    open = await openPinecone({ apiKey: KEY });
    const other = createProvider({ ...open.standIn.settings, apiKey: 'another-SECRET' });
    const error = await failed(other.open({ clock: systemClock, signal: new AbortController().signal }));
    expect(error.code).toBe('UNAUTHORIZED');
    expect(shown(error)).not.toContain('another-SECRET');
    expect(open.standIn.seen('list_indexes')).toHaveLength(2);
  });

  test.each([[undefined], [''], ['with space'], ['with\nline']])('%j is no key', (apiKey) => {
    expect(() => createProvider({ apiKey })).toThrow(
      expect.objectContaining({
        code: 'CONFIGURATION',
        message: expect.stringContaining('PINECONE_API_KEY') as unknown,
      }),
    );
  });

  test('does not follow a redirect', async () => {
    const strangers: IncomingMessage[] = [];
    const stranger = createServer((request, response) => {
      strangers.push(request);
      response.end('{}');
    });
    await new Promise<void>((resolve) => stranger.listen(0, '127.0.0.1', resolve));
    open = await openPinecone({ apiKey: KEY });
    await fill(open.store, 'docs', 1);
    open.standIn.fail('queryVectors', { location: `http://127.0.0.1:${(stranger.address() as AddressInfo).port}/` });
    expect((await failed(open.store.search('docs', { vector: [1, 0] }))).code).toBe('CONFIGURATION');
    expect(strangers).toEqual([]);
    await new Promise((resolve) => stranger.close(resolve));
  });
});

test('another process that makes the collection anew is noticed', async () => {
  open = await openPinecone();
  const { store, standIn } = open;
  await fill(store, 'docs', 1);
  const other = createProvider(standIn.settings);
  await other.open({ clock: systemClock, signal: new AbortController().signal });
  const theirs = storeOn(other, 'acme');
  await theirs.deleteCollection('docs');
  await theirs.createCollection({ name: 'docs', dimension: 3 });
  await theirs.upsert('docs', [{ id: 'a', vector: [1, 2, 3] }]);
  expect(await store.search('docs', { vector: [1, 2, 3] })).toHaveLength(1);
  await other.close(systemClock.monotonic());
});
