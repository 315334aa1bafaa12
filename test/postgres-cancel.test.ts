/** Statements that are to be stopped, and connections that the server may still be at. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { describeServer, Fixture, rowsOf, serverUrl, until } from './support/postgres/fixture.js';
import { ManualClock } from './support/manual-clock.js';
import { isCancel, isStartup } from './support/postgres/messages.js';
import { Proxy } from './support/proxy.js';

let fixture: Fixture;
let proxy: Proxy;

describeServer('a request to stop a statement that the server has yet to hear', () => {
  beforeAll(async () => {
    fixture = await Fixture.open();
  });
  beforeEach(async () => {
    proxy = await Proxy.open(serverUrl);
  });
  afterEach(async () => {
    await fixture.closePools();
    await proxy.close();
  });
  afterAll(() => fixture.close());

  test('counts as a connection, for two seconds at most', async () => {
    const manual = new ManualClock();
    const pool = await fixture.pool({ pool: { max: 1 } }, fixture.through(proxy.port), manual);
    const observer = await fixture.pool({ pool: { max: 1 } });
    const ask = (text: string, timeout: number) =>
      pool.query(text, [], { now: manual.now(), deadline: manual.monotonic() + timeout });
    const opened: number[] = [];
    const { sent } = proxy.swallow((data) => {
      if (isStartup(data)) opened.push(manual.monotonic());
      return isCancel(data);
    });
    const late = expect(ask('SELECT pg_sleep(120)', 100)).rejects.toMatchObject({ code: 'TIMEOUT' });
    await manual.advance(100);
    await late;
    const next = ask('SELECT 1 AS one', 60_000);
    await until(() => sent.length === 1);
    // Time enough for a connection to be opened, if one were.
    for (let i = 0; i < 20; i++) await rowsOf(observer, 'SELECT 1');
    await manual.advance(1_999);
    expect(opened).toEqual([]);
    await manual.advance(1);
    expect((await next).rows).toEqual([{ one: 1 }]);
    expect(opened).toEqual([2_100]);
  });

  test('that it hears makes room at once', async () => {
    const manual = new ManualClock();
    const pool = await fixture.pool({ pool: { max: 1 } }, fixture.through(proxy.port), manual);
    const ask = (text: string, timeout: number) =>
      pool.query(text, [], { now: manual.now(), deadline: manual.monotonic() + timeout });
    const late = expect(ask('SELECT pg_sleep(120)', 100)).rejects.toMatchObject({ code: 'TIMEOUT' });
    await manual.advance(100);
    await late;
    expect((await ask('SELECT 1 AS one', 60_000)).rows).toEqual([{ one: 1 }]);
  });
});
