/** Connections that the pool tries before it uses them. */
import { getEventListeners } from 'node:events';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { SqlPool } from '../src/pools/pool.js';
import { describeServer, Fixture, onEach, serverUrl, until } from './support/postgres/fixture.js';
import { ManualClock } from './support/manual-clock.js';
import { EMPTY_SCRIPT, errorMessage, READY } from './support/postgres/messages.js';
import { Proxy } from './support/proxy.js';

let fixture: Fixture;
let proxy: Proxy;

describeServer('a trial of a connection that was idle for long', () => {
  let manual: ManualClock;
  let pool: SqlPool;
  let pids: unknown[];
  const ask = (timeout: number, signal?: AbortSignal) =>
    pool.query('SELECT pg_backend_pid() AS pid', [], {
      now: manual.now(),
      deadline: manual.monotonic() + timeout,
      ...(signal !== undefined && { signal }),
    });
  const used = async () => (await ask(60_000)).rows[0]!['pid'];
  beforeAll(async () => {
    fixture = await Fixture.open();
  });
  beforeEach(async () => {
    proxy = await Proxy.open(serverUrl);
    manual = new ManualClock();
    const settings = { pool: { max: 3, idleTimeout: 3_600_000 } };
    pool = await fixture.pool(settings, fixture.through(proxy.port), manual);
    const bounds = { now: manual.now(), deadline: manual.monotonic() + 60_000 };
    pids = (await onEach(pool, 3, 'SELECT pg_backend_pid() AS pid', () => bounds)).map(({ pid }) => pid);
    await manual.advance(40_000);
  });
  afterEach(async () => {
    await fixture.closePools();
    await proxy.close();
  });
  afterAll(() => fixture.close());

  test('is left by its caller at the deadline and by the signal, and takes no healthy connection along', async () => {
    proxy.keepBack(READY);
    const late = expect(ask(50)).rejects.toMatchObject({ code: 'TIMEOUT' });
    await manual.advance(50);
    await late;
    const controller = new AbortController();
    const aborting = expect(ask(60_000, controller.signal)).rejects.toMatchObject({ code: 'ABORTED' });
    controller.abort();
    await aborting;
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    expect(pool.figures()).toMatchObject({ size: 3, idle: 1 });
    proxy.letGo();
    await until(() => pool.figures().idle === 3);
    const before = proxy.roundTrips;
    // Both have answered meanwhile, and are tried no more.
    expect(pids).toContain(await used());
    expect(proxy.roundTrips - before).toBe(1);
  });

  test('that gets no answer in its time ends those that were idle as long', async () => {
    proxy.freeze();
    const asking = used();
    await manual.advance(1_999);
    expect(pool.figures()).toMatchObject({ size: 3, idle: 2 });
    proxy.thaw();
    await manual.advance(1);
    expect(pids).not.toContain(await asking);
    expect(pool.figures().size).toBe(1);
  });

  test('that is answered by an error ends that connection: none is lost to the pool', async () => {
    const refused = Buffer.concat([errorMessage('58000', 'ERROR'), READY]);
    proxy.answer((sent) => sent.equals(EMPTY_SCRIPT), refused);
    expect(pids).not.toContain(await used());
    expect(pool.figures()).toEqual({ size: 1, idle: 1, waiting: 0, max: 3 });
  });

  test('that is answered by an error after its caller has left ends that connection too', async () => {
    proxy.delay(150);
    proxy.answer((sent) => sent.equals(EMPTY_SCRIPT), Buffer.concat([errorMessage('58000', 'ERROR'), READY]));
    const late = expect(ask(50)).rejects.toMatchObject({ code: 'TIMEOUT' });
    await manual.advance(50);
    await late;
    await until(() => pool.figures().size === 2);
  });
});
