/** A server that hangs, breaks off, refuses, or is not one: what is done again, what is told, and that no token is. */
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { inspect } from 'node:util';
import { systemClock as clock } from '../src/clock.js';
import { isStorageError, type StorageError } from '../src/errors.js';
import { storeOn } from '../src/testing/vector-target.js';
import type { VectorStore } from '../src/vectors/vector-store.js';
import { ChromaFixture, describeChroma, opening, quickly } from './support/chroma/fixture.js';
import type { ChromaProxy, Fault } from './support/chroma/proxy.js';
import { ManualClock } from './support/manual-clock.js';
import { until } from './support/postgres/fixture.js';

const UPSERT = /^POST .*\/upsert$/;
const GET = /^POST .*\/get$/;
const QUERY = /^POST .*\/query$/;
const DELETE = /^POST .*\/delete$/;
const HTML: Fault = { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>Welcome</html>' };
const BAD_GATEWAY: Fault = { status: 502, headers: { 'content-type': 'text/html' }, body: '<html>Bad gateway</html>' };
const TOO_MANY = (after: string): Fault => ({
  status: 429,
  headers: { 'content-type': 'application/json', 'retry-after': after },
  body: '{"error":"RateLimitError","message":"slow down"}',
});
const BROKEN: Fault = {
  status: 500,
  headers: { 'content-type': 'application/json' },
  body: '{"error":"InternalError","message":"disk"}',
};

describeChroma('faults of the way to Chroma', () => {
  let fixture: ChromaFixture;
  let proxy: ChromaProxy;
  let store: VectorStore;
  /** One whose requests are given up when the test says so: what hangs, and nothing that only takes its time. */
  let timed: VectorStore;
  const time = new ManualClock();
  const TIMED = { requestTimeout: 1_000, ...quickly };

  beforeAll(async () => {
    fixture = await ChromaFixture.open();
    proxy = await fixture.proxy();
    store = await fixture.store({ url: proxy.url, ...quickly });
    timed = storeOn(await fixture.provider({ url: proxy.url, ...TIMED }, time), 'a');
    await store.createCollection({ name: 'docs', dimension: 2 });
    await store.upsert('docs', [{ id: 'kept', vector: [1, 2], metadata: { n: 1 } }]);
  });
  afterEach(() => proxy.heal());
  afterAll(() => fixture.close());

  const write = (id: string, on = store) => on.upsert('docs', [{ id, vector: [1, 2], metadata: { n: 2 } }]);

  /** Resolves when so many requests have come to the proxy, tried again ones among them. */
  const came = (to: ChromaProxy, path: RegExp, count: number): Promise<void> =>
    until(async () => {
      await time.advance(1);
      return to.count(path) >= count;
    });

  /** Gives up so many requests in a row, each when it hangs. */
  async function giveUp(to: ChromaProxy, path: RegExp, before: number, count: number): Promise<void> {
    for (let hanging = 1; hanging <= count; hanging++) {
      await came(to, path, before + hanging);
      await time.advance(TIMED.requestTimeout);
    }
  }

  async function failure(work: Promise<unknown>): Promise<StorageError> {
    const error: unknown = await work.then(
      () => new Error('it succeeded'),
      (reason: unknown) => reason,
    );
    if (!isStorageError(error)) throw error;
    return error;
  }

  test.each<[string, Fault]>([
    ['hangs', 'hang'],
    ['is reset', 'reset'],
    ['is reset after the server had it', 'lose'],
    ['is answered by half', 'half'],
    ['is answered by what is no JSON', 'cut short'],
    ['is answered by a page', HTML],
    ['is answered by a proxy', BAD_GATEWAY],
    ['meets an error of the server', BROKEN],
    ['is one too many', TOO_MANY('0')],
  ])('a request that %s is made again', async (name, fault) => {
    const on = fault === 'hang' ? timed : store;
    for (const [path, work] of [
      [UPSERT, () => write(name, on)],
      [GET, async () => expect(await on.fetch('docs', [name])).toMatchObject([{ id: name, metadata: { n: 2 } }])],
      [QUERY, async () => expect(await on.search('docs', { vector: [1, 2] })).not.toEqual([])],
    ] as const) {
      const before = proxy.count(path);
      proxy.meet(path, fault, 1);
      const working = work();
      if (fault === 'hang') {
        await giveUp(proxy, path, before, 1);
        await came(proxy, path, before + 2);
      }
      await working;
      expect(proxy.count(path) - before).toBe(2);
    }
  });

  test.each<[string, Fault, string, RegExp]>([
    ['hangs', 'hang', 'TIMEOUT', /within 1000 ms/],
    ['resets', 'reset', 'UNAVAILABLE', /ECONNRESET|UND_ERR_SOCKET/],
    ['fails', BROKEN, 'UNAVAILABLE', /500, InternalError/],
    ['is overloaded', TOO_MANY('0'), 'UNAVAILABLE', /429/],
    ['answers by half', 'half', 'UNAVAILABLE', /broke its answer off/],
    ['is none', HTML, 'UNAVAILABLE', /not a Chroma server/],
  ])('a server that always %s is tried as often as the settings say', async (_case, fault, code, message) => {
    const before = proxy.count(GET);
    proxy.meet(GET, fault);
    const failing = failure((fault === 'hang' ? timed : store).fetch('docs', ['kept']));
    if (fault === 'hang') await giveUp(proxy, GET, before, 3);
    const error = await failing;
    expect(error).toMatchObject({ code, retryable: true, component: 'vectors:chroma' });
    expect(error.message).toMatch(message);
    expect(proxy.count(GET) - before).toBe(3);
  });

  test('Retry-After is waited for', async () => {
    proxy.meet(GET, TOO_MANY('1'), 1);
    const began = clock.monotonic();
    await store.fetch('docs', ['kept']);
    expect(clock.monotonic() - began).toBeGreaterThan(990);
  });

  test('Retry-After beyond the deadline is told at once', async () => {
    const before = proxy.count(GET);
    proxy.meet(GET, TOO_MANY('3600'));
    const error = await failure(store.fetch('docs', ['kept'], { timeout: 60_000 }));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', details: { status: 429, retryAfter: 3_600_000 } });
    expect(proxy.count(GET) - before).toBe(1);
  });

  test('an operation ends at its deadline and with its signal, and the next one is not touched by it', async () => {
    proxy.meet(GET, 'hang', 2);
    expect(await failure(store.fetch('docs', ['kept'], { timeout: 100 }))).toMatchObject({ code: 'TIMEOUT' });
    const controller = new AbortController();
    const aborted = failure(store.fetch('docs', ['kept'], { signal: controller.signal }));
    controller.abort();
    expect(await aborted).toMatchObject({ code: 'ABORTED' });
    proxy.heal();
    expect(await store.fetch('docs', ['kept'])).toMatchObject([{ id: 'kept' }]);
  });

  test("a proxy's 404 does not mean that there is nothing", async () => {
    proxy.meet(GET, { status: 404, headers: { 'content-type': 'text/html' }, body: 'Not found' });
    const error = await failure(store.fetch('docs', ['kept']));
    expect(error).toMatchObject({ code: 'UNAVAILABLE' });
    expect(error.message).toMatch(/not a Chroma server/);
  });

  test('what is being deleted is not there any more', async () => {
    const gone = { error: 'ChromaError', message: 'Missing field: [Missing metadata segment]' };
    const half: Fault = { status: 412, headers: { 'content-type': 'application/json' }, body: JSON.stringify(gone) };
    proxy.meet(UPSERT, half, 1);
    await write('anew');
    proxy.meet(GET, half);
    expect(await failure(store.fetch('docs', ['anew']))).toMatchObject({ code: 'NOT_FOUND' });
    proxy.heal();
    expect(await store.fetch('docs', ['anew'])).toMatchObject([{ id: 'anew' }]);
  });

  test('a batch that is too large for what is before the server is halved', async () => {
    const records = Array.from({ length: 4 }, (_, i) => ({ id: `half-${i}`, vector: [1, i] }));
    const before = proxy.count(UPSERT);
    proxy.meet(UPSERT, { status: 413, body: 'Payload too large' }, 2);
    expect(await store.upsert('docs', records)).toMatchObject({ written: 4, failed: 0 });
    expect(proxy.count(UPSERT) - before).toBe(5);
    expect((await store.fetch('docs', ['half-0', 'half-3'])).every((found) => found !== undefined)).toBe(true);
    proxy.meet(UPSERT, { status: 413, body: 'Payload too large' });
    expect(await failure(write('alone'))).toMatchObject({ code: 'VALIDATION', details: { status: 413 } });
  });

  test('of a deletion whose answer was lost the count is not told, and it is complete', async () => {
    await store.upsert(
      'docs',
      Array.from({ length: 6 }, (_, i) => ({ id: `gone-${i}`, vector: [1, i], metadata: { group: 'gone' } })),
    );
    proxy.meet(DELETE, 'lose', 1);
    expect(await store.delete('docs', { filter: { group: 'gone' } })).toEqual({});
    expect(await store.count('docs', { group: 'gone' })).toBe(0);
  });

  test('a collection whose making lost its answer is made once', async () => {
    proxy.meet(/^POST .*\/collections$/, 'lose', 2);
    await store.createCollection({ name: 'lost', dimension: 2 });
    await store.createCollection({ name: 'lost', dimension: 2 });
    expect(await store.listCollections()).toContain('lost');
    proxy.meet(/^DELETE /, 'lose', 1);
    expect(await store.deleteCollection('lost')).toBe(true);
    expect(await store.deleteCollection('lost')).toBe(false);
  });

  test('requests at once are no more than the settings say', async () => {
    const own = await fixture.proxy();
    const few = storeOn(await fixture.provider({ url: own.url, maxConcurrency: 2 }), 'a');
    await Promise.all(Array.from({ length: 12 }, () => few.fetch('docs', ['kept'])));
    expect(own.busiest).toBe(2);
  });

  test('credentials that are refused are told as such, once', async () => {
    const before = proxy.count(GET);
    proxy.meet(GET, { status: 401, headers: { 'content-type': 'application/json' }, body: '{"error":"AuthError"}' });
    expect(await failure(store.fetch('docs', ['kept']))).toMatchObject({ code: 'UNAUTHORIZED', retryable: false });
    expect(proxy.count(GET) - before).toBe(1);
  });

  test.each([
    [400, 'InvalidArgumentError', 'VALIDATION'],
    [409, 'UniqueConstraintError', 'ALREADY_EXISTS'],
    [422, 'ChromaError', 'VALIDATION'],
    [501, 'Unimplemented', 'UNSUPPORTED'],
  ])('what is answered by %i is told once, by its code', async (status, serverError, code) => {
    const before = proxy.count(GET);
    const body = JSON.stringify({ error: serverError, message: 'no' });
    proxy.meet(GET, { status, headers: { 'content-type': 'application/json' }, body });
    const details = { status, serverError };
    expect(await failure(store.fetch('docs', ['kept']))).toMatchObject({ code, retryable: false, details });
    expect(proxy.count(GET) - before).toBe(1);
  });

  test('no error shows the token, whatever the server says', async () => {
    const token = 'hunter2TheSecret';
    const own = await fixture.proxy();
    const secret = storeOn(await fixture.provider({ url: own.url, token, ...quickly }), 'a');
    const hanging = storeOn(await fixture.provider({ url: own.url, token, ...TIMED }, time), 'a');
    expect(own.seen.every(({ headers }) => headers['authorization'] === `Bearer ${token}`)).toBe(true);
    const echo = JSON.stringify({ error: token, message: `authorization: Bearer ${token}` });
    const json = { 'content-type': 'application/json' };
    const faults: Fault[] = ['hang', 'reset', 'half', HTML];
    for (const status of [400, 401, 403, 404, 409, 418, 422, 429, 500, 501]) {
      faults.push({ status, headers: json, body: echo });

      faults.push({ status, body: `authorization: Bearer ${token}` });
    }
    for (const fault of faults) {
      own.meet(GET, fault);
      const before = own.count(GET);
      const failing = failure((fault === 'hang' ? hanging : secret).fetch('docs', ['kept']));
      if (fault === 'hang') await giveUp(own, GET, before, 3);
      const error = await failing;
      own.heal();
      const cause = error.cause as Error | undefined;
      const shown = [error.message, JSON.stringify(error), inspect(error, { depth: 9 }), String(error.stack)];
      shown.push(inspect(cause, { depth: 9 }), String(cause?.message));
      expect(shown.filter((text) => text.includes(token))).toEqual([]);
    }
  });

  test.each<[string, Record<string, string>, string]>([
    ['a page', { 'content-type': 'text/html' }, '<p>Bearer hunter2&amp;TheSecret</p>'],
    ['other JSON', { 'content-type': 'application/json' }, '{"detail":"Bearer hunter2\\u0026TheSecret"}'],
    ['an error of another form', { 'content-type': 'application/json' }, '{"error":"Not this","message":"hunter2%26"}'],
  ])('of %s that something before the server answers nothing is kept', async (_what, headers, body) => {
    const own = await fixture.proxy();
    const secret = storeOn(await fixture.provider({ url: own.url, token: 'hunter2&TheSecret', ...quickly }), 'a');
    own.meet(GET, { status: 502, headers, body });
    const { cause } = await failure(secret.fetch('docs', ['kept']));
    expect((cause as Error).message).toBe('HTTP 502');
  });

  test('a redirect is not followed: it would take the token elsewhere', async () => {
    const elsewhere = await fixture.proxy();
    const own = await fixture.proxy();
    const settings = { url: own.url, token: 't', tokenHeader: 'x-chroma-token', ...quickly };
    const redirected = storeOn(await fixture.provider(settings), 'a');
    own.meet(GET, { status: 307, headers: { location: `${elsewhere.url}/` } });
    expect(await failure(redirected.fetch('docs', ['kept']))).toMatchObject({ code: 'CONFIGURATION' });
    expect(own.seen.at(-1)?.headers['x-chroma-token']).toBe('t');
    expect(elsewhere.seen).toEqual([]);
  });

  test('an opening that fails can be tried again, and health tells of the server', async () => {
    const own = await fixture.proxy();
    const { url } = own;
    const provider = fixture.make({ url, ...quickly });
    expect((await provider.check(new AbortController().signal)).status).toBe('unknown');
    own.meet(/./, BROKEN);
    expect(await failure(provider.open(opening()))).toMatchObject({ code: 'UNAVAILABLE', operation: 'open' });
    own.heal();
    await provider.open(opening());
    expect(await provider.check(new AbortController().signal)).toEqual({
      status: 'healthy',
      details: { active: 0, waiting: 0, max: 16 },
    });
    own.meet(/heartbeat/, 'hang');
    const controller = new AbortController();
    const checking = provider.check(controller.signal);
    controller.abort();
    expect(await checking).toMatchObject({ status: 'unhealthy' });
    await own.close();
    const message = `The Chroma server at ${new URL(url).host} cannot be reached, or broke its answer off`;
    const check = () => provider.check(new AbortController().signal);
    expect(await check()).toMatchObject({ status: 'unhealthy', message: expect.stringContaining(message) });
    // A connection that was there may have heard of the end only by the first.
    await until(async () => (await check()).message === `${message} (ECONNREFUSED)`);
  });

  test('a close ends what hangs, and refuses what comes after it', async () => {
    const own = await fixture.proxy();
    const provider = await fixture.provider({ url: own.url });
    const closing = storeOn(provider, 'a');
    await closing.count('docs');
    own.meet(GET, 'hang');
    const hanging = failure(closing.fetch('docs', ['kept']));
    await provider.close(clock.monotonic() + 50);
    expect(await hanging).toMatchObject({ code: 'CLOSED' });
    expect(await failure(closing.fetch('docs', ['kept']))).toMatchObject({ code: 'CLOSED' });
  });
});
