/** What a sweep gives back of entries that count in a quota. */
import { expect, test } from '@jest/globals';
import { bareUnit } from '../../src/adapters/kv/bare-unit.js';
import { ENTRIES } from '../../src/adapters/kv/entries.js';
import { makeValue, sized } from '../../src/adapters/kv/entry.js';
import { GLOBAL, namespaceCounter, TENANT_COUNTER, USAGE } from '../../src/adapters/kv/usage.js';
import { memory as backends } from '../../src/backends/memory.js';
import { memory as pools } from '../../src/pools/memory.js';
import { Sweeper } from '../../src/sweeper.js';
import { ManualClock } from '../support/manual-clock.js';

const MINUTE = 60_000;

test('the sweeper deletes expired entries of every tenant and gives their bytes back to every counter there is', async () => {
  const clock = new ManualClock();
  const pool = pools.create('memory:', { seed: null }, { clock, name: 'main' });
  await pool.open();
  const backend = backends.create(pool, 'records:main');
  const context = () => ({ now: clock.now(), deadline: clock.monotonic() + 1_000 });
  const unitOf = (tenant: string) => bareUnit(backend, tenant, context());
  const counter = async (tenant: string, id: string): Promise<number | undefined> =>
    (await unitOf(tenant).find(USAGE, id))?.value.bytes;

  for (const tenant of ['a', 'b']) {
    const unit = unitOf(tenant);
    for (let i = 0; i < 70; i++) {
      const value = makeValue({ namespace: 'n', key: `k${i}` }, sized(i % 2 === 0 ? 'four' : 7));
      unit.insert(ENTRIES, i < 2 ? value : { ...value, expires: new Date(clock.now().getTime() + 1_000) });
    }
    unit.insert(USAGE, { bytes: 35 * 7 }, { id: namespaceCounter('n') });
    if (tenant === 'a') unit.insert(USAGE, { bytes: 35 * 7 }, { id: TENANT_COUNTER });
    expect(await unit.commit('test')).toBeUndefined();
  }
  const all = unitOf(GLOBAL.scope.tenant);
  all.insert(USAGE, { bytes: 2 * 35 * 7 }, { id: GLOBAL.id });
  await all.commit('test');

  const collections = () => [ENTRIES.schema];
  const sweeper = new Sweeper({ name: 'sweeper:main', backend, collections, clock, interval: MINUTE });
  await sweeper.open();
  await clock.advance(5 * MINUTE);
  await sweeper.close(clock.monotonic());

  for (const tenant of ['a', 'b']) {
    expect(await unitOf(tenant).query(ENTRIES, {})).toHaveLength(2);
    expect(await counter(tenant, namespaceCounter('n'))).toBe(7);
  }
  expect(await counter('a', TENANT_COUNTER)).toBe(7);
  expect(await counter('b', TENANT_COUNTER)).toBeUndefined();
  expect(await counter(GLOBAL.scope.tenant, GLOBAL.id)).toBe(14);
  await pool.close();
});

test('counters that are 0 for a while are swept, but for the one of all tenants', async () => {
  const clock = new ManualClock();
  const pool = pools.create('memory:', { seed: null }, { clock, name: 'main' });
  await pool.open();
  const backend = backends.create(pool, 'records:main');
  const unitOf = (tenant: string) =>
    bareUnit(backend, tenant, { now: clock.now(), deadline: clock.monotonic() + 1_000 });
  const counters: Readonly<Record<string, Readonly<Record<string, number>>>> = {
    a: { [namespaceCounter('n')]: 0, [namespaceCounter('m')]: 5, [TENANT_COUNTER]: 5 },
    b: { [namespaceCounter('n')]: 0, [TENANT_COUNTER]: 0 },
    [GLOBAL.scope.tenant]: { [GLOBAL.id]: 0 },
  };
  const write = async (): Promise<void> => {
    for (const [tenant, own] of Object.entries(counters)) {
      const unit = unitOf(tenant);
      for (const [id, bytes] of Object.entries(own)) unit.put(USAGE, id, { bytes });
      expect(await unit.commit('test')).toBeUndefined();
    }
  };
  const left = async (tenant: string): Promise<string[]> =>
    (await unitOf(tenant).query(USAGE, {})).map(({ id }) => id).sort();

  await write();
  const collections = () => [USAGE.schema];
  const sweeper = new Sweeper({ name: 'sweeper:main', backend, collections, clock, interval: MINUTE / 4 });
  await sweeper.open();
  await clock.advance(MINUTE / 2);
  // They were written too late for this look, and the next is in an hour.
  await clock.advance(10 * MINUTE);
  expect(await left('b')).toHaveLength(2);
  await clock.advance(60 * MINUTE);
  await sweeper.close(clock.monotonic());

  expect(await left('a')).toEqual([namespaceCounter('m'), TENANT_COUNTER]);
  expect(await left('b')).toEqual([]);
  expect(await left(GLOBAL.scope.tenant)).toEqual([GLOBAL.id]);
  await pool.close();
});

test('counters are swept also after the wall clock was ahead once', async () => {
  const clock = new ManualClock();
  const pool = pools.create('memory:', { seed: null }, { clock, name: 'main' });
  await pool.open();
  const backend = backends.create(pool, 'records:main');
  const context = () => ({ now: clock.now(), deadline: clock.monotonic() + 1_000 });
  const sweep = (): Promise<number> => USAGE.schema.sweep!(backend, clock.now(), 1_000, context());
  const week = 7 * 24 * 60 * MINUTE;
  clock.jump(week);
  expect(await sweep()).toBe(0);
  clock.jump(-week);
  const unit = bareUnit(backend, 'a', context());
  unit.put(USAGE, TENANT_COUNTER, { bytes: 0 });
  expect(await unit.commit('test')).toBeUndefined();
  await clock.advance(2 * 60 * MINUTE);
  expect(await sweep()).toBe(1);
  await pool.close();
});
