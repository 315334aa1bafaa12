/** Calls to MongoDB that are cut: the client ends them, does not make them again, and has their connections for others. */
import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { systemClock as clock } from '../src/clock.js';
import type { OperationContext } from '../src/component.js';
import type { RecordBackend } from '../src/backends/backend.js';
import { defineCollection } from '../src/collection/definition.js';
import { parseSort } from '../src/filter/cursor.js';
import { ALL } from '../src/filter/syntax.js';
import type { MongoPool } from '../src/pools/mongo/pool.js';
import {
  backendOn,
  clientOf,
  context,
  describeServer,
  failure,
  Fixture,
  gate,
  write,
} from './support/mongo/fixture.js';
import { Proxy } from './support/mongo/proxy.js';

const { schema, domain } = defineCollection<{ n: number }>({ name: 'counters', fields: { n: 'number' }, id: 'given' });
const SCOPE = { tenant: 't' };
const KEY = { collection: schema, id: 'a' };
const MANY = {
  collection: schema,
  filter: ALL,
  changes: { increment: { n: 1 } },
  sort: parseSort({}, domain),
  limit: 1,
};

const put = (n: number) => write(schema, 'a', { kind: 'put', value: { n } });

const CALLS: readonly [string, string, (on: RecordBackend, at: OperationContext) => Promise<unknown>][] = [
  ['a read of a record', 'find', (on, at) => on.read(SCOPE, [KEY], at)],
  ['a write', 'findAndModify', (on, at) => on.write(SCOPE, [put(1)], at)],
  ['an insert', 'insert', (on, at) => on.write(SCOPE, [write(schema, 'b', { kind: 'insert', value: { n: 1 } })], at)],
  ['a query', 'find', (on, at) => on.find(SCOPE, MANY, at)],
  ['an update of many', 'update', (on, at) => on.updateMany!(SCOPE, MANY, at)],
  ['a deletion of many', 'delete', (on, at) => on.deleteMany!(SCOPE, MANY, at)],
  ['a claim', 'update', (on, at) => on.claim!(SCOPE, MANY, at)],
  [
    'a batch',
    'update',
    (on, at) => on.write(SCOPE, [put(1), write(schema, 'b', { kind: 'put', value: { n: 1 } })], at),
  ],
];

describeServer('mongo', 'calls that are cut', () => {
  let fixture: Fixture;
  let proxy: Proxy;
  let pool: MongoPool;
  let backend: RecordBackend;
  let direct: RecordBackend;
  beforeEach(async () => {
    fixture = await Fixture.open('mongo');
    direct = backendOn(await fixture.pool());
    await direct.ensure([schema], context());
    await direct.write(SCOPE, [put(0)], context());
    proxy = await Proxy.open(fixture.url);
    pool = await fixture.pool({ pool: { max: 2, acquireTimeout: 60_000 } }, proxy.through(fixture.url));
    backend = backendOn(pool);
  });
  afterEach(async () => {
    await fixture.close();
    await proxy.close();
  });

  test.each([
    ['TIMEOUT', () => context({ timeout: 300 })],
    ['ABORTED', () => context({ signal: AbortSignal.timeout(300) })],
  ])('a write that was told as %s is not made again', async (code, bounds) => {
    proxy.blackHoleAt('findAndModify');
    expect((await failure(backend.write(SCOPE, [put(1)], bounds()))).error).toMatchObject({ code });
    await direct.write(SCOPE, [put(2)], context());
    proxy.cutDead();
    // It waits for all that the client still does.
    await pool.close(clock.monotonic() + 60_000);
    expect((await direct.read(SCOPE, [KEY], context()))[0]).toMatchObject({ value: { n: 2 }, version: 2 });
  });

  test.each(CALLS)('connections on which nothing comes back are not kept by %s', async (_what, command, call) => {
    proxy.blackHoleAt(command, 2);
    const cut = await Promise.all([1, 2].map(() => failure(call(backend, context({ timeout: 400 })))));
    expect(cut.map(({ error }) => error)).toMatchObject([{ code: 'TIMEOUT' }, { code: 'TIMEOUT' }]);
    expect(await backend.count(SCOPE, MANY, context({ timeout: 30_000 }))).toBe(1);
  });

  test('a transaction whose call was cut has its connection given back, and is undone', async () => {
    const undone = pool.transaction({ context: context() }, async (session) => {
      await backend.write(SCOPE, [put(1)], context({ session }));
      proxy.blackHoleAt('find', 1);
      await backend.read(SCOPE, [KEY], context({ session, timeout: 300 })).catch(() => undefined);
    });
    expect((await failure(undone)).error).toMatchObject({ code: 'TIMEOUT' });
    await pool.transaction({ context: context({ timeout: 30_000 }) }, (session) =>
      backend.write(SCOPE, [put(5)], context({ session })),
    );
    expect((await direct.read(SCOPE, [KEY], context()))[0]).toMatchObject({ value: { n: 5 }, version: 2 });
  });

  test('a call that waits for another of its transaction is ended by its own bounds, and the rest goes on', async () => {
    const controller = new AbortController();
    const { passed: isFrozen, open } = gate();
    await pool.transaction({ context: context() }, async (session) => {
      const read = (more: Partial<OperationContext> & { timeout?: number } = {}) =>
        backend.read(SCOPE, [KEY], context({ session, ...more }));
      proxy.freezeAt('find', open);
      const first = read();
      await isFrozen;
      const late = failure(read({ timeout: 50 }));
      const stopped = failure(read({ signal: controller.signal }));
      const last = backend.write(SCOPE, [put(3)], context({ session }));
      expect((await late).error).toMatchObject({ code: 'TIMEOUT' });
      controller.abort();
      expect((await stopped).error).toMatchObject({ code: 'ABORTED' });
      proxy.thaw();
      expect(await first).toMatchObject([{ value: { n: 0 } }]);
      await last;
    });
    expect((await direct.read(SCOPE, [KEY], context()))[0]).toMatchObject({ value: { n: 3 } });
  });

  test('the session of a write that was cut is not the next one, which would wait for it in the server', async () => {
    const next = async (): Promise<string> => {
      const session = clientOf(pool).startSession();
      const id = session.id!.id.toString('hex');
      await session.endSession();
      return id;
    };
    await backend.write(SCOPE, [put(1)], context());
    const before = await next();
    await backend.write(SCOPE, [put(1)], context());
    expect(await next()).toBe(before);
    proxy.blackHoleAt('findAndModify');
    await failure(backend.write(SCOPE, [put(1)], context({ timeout: 300 })));
    // By its answer the client is done with what was cut.
    await backend.count(SCOPE, MANY, context());
    expect(await next()).not.toBe(before);
  });

  test('operations share a signal until one is cut, and leave no listener on it', async () => {
    const signals = new Set<AbortSignal>();
    const read = (bounds: OperationContext): Promise<unknown> =>
      pool.run('read', bounds, (use) => {
        signals.add(use.callBounds().signal);
        return use.findById(`qm_${schema.name}`, 'none', undefined);
      });
    const { signal } = new AbortController();
    for (let i = 0; i < 20; i++) await read(context({ signal }));
    expect(signals.size).toBe(1);
    const [shared] = signals;
    expect([...signals, signal].flatMap((one) => getEventListeners(one, 'abort'))).toEqual([]);
    proxy.blackHoleAt('find');
    await failure(read(context({ timeout: 300 })));
    await read(context());
    expect([shared!.aborted, signals.size]).toEqual([true, 2]);
  });

  test('nothing more is asked of the client by work that was cut', async () => {
    const asked: unknown[] = [];
    const cut = failure(
      pool.run('read', context({ timeout: 50 }), async (use) => {
        await new Promise<void>((ended) => use.callBounds().signal.addEventListener('abort', () => ended()));
        asked.push((await failure((async () => use.callBounds())())).error);
      }),
    );
    const { error } = await cut;
    await pool.close(clock.monotonic() + 60_000);
    expect(asked).toEqual([error]);
  });
});
