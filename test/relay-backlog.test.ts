/** More lanes are due than a relay claims at once: what a look and a claim read of them, and how far a look goes. */
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import type { RecordBackend, Stored } from '../src/backends/backend.js';
import { sql } from '../src/backends/sql/index.js';
import { COUNTERS } from '../src/collection/counters.js';
import type { DeliveryContext, OutboxMessage } from '../src/index.js';
import type { SqlPool } from '../src/pools/pool.js';
import { LANES, OUTBOX_TABLES } from '../src/unit-of-work/outbox/records.js';
import { claim } from '../src/unit-of-work/relay/claim.js';
import { DueLanes } from '../src/unit-of-work/relay/due-lanes.js';
import { ManualClock, settled } from './support/manual-clock.js';
import { databaseOf } from './support/open-parts.js';
import { enqueue } from './support/outbox.js';
import { explaining } from './support/pgvector/fixture.js';
import { sharedMemory } from './support/shared-memory.js';
import { openBackend, type Opened } from './support/sql/fixture.js';

const TOPICS = ['mail', 'sms'];
const context = () => ({ now: new Date(), deadline: Infinity });
const lanesOn = (backend: RecordBackend, topics = TOPICS): DueLanes =>
  new DueLanes(backend, topics, (work) => work(context()));
const dueAt = ({ value }: Stored) => value['dueAt'] as string;
const topicsOf = (lanes: readonly Stored[]) => [...new Set(lanes.map(({ value }) => value['topic']))];

describe('of 10,000 lanes', () => {
  let opened: Opened;
  let pool: SqlPool;

  beforeAll(async () => {
    opened = await openBackend();
    ({ pool } = opened);
    await opened.backend.ensure([...OUTBOX_TABLES, COUNTERS], context());
    await pool.query(
      `INSERT INTO quartermaster.${LANES.name} (tenant, id, version, created_at, updated_at, expires_at, value)
       SELECT 't' || i % 10, md5(i::text), 1, now(), now(), 'infinity', jsonb_build_object(
         'topic', CASE i % 2 WHEN 0 THEN 'mail' ELSE 'sms' END, 'keyId', i::text, 'token', 0, 'attempts', 0,
         'dueAt', to_char(timestamp '2026-01-01' + i * interval '1 s', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
       FROM generate_series(1, 10000) i`,
      [],
      context(),
    );
    await pool.script(`ANALYZE quartermaster.${LANES.name}`, context());
  });

  afterAll(() => opened.close());

  test('a look and a claim read what they take, and none of the others', async () => {
    const plans: string[] = [];
    const watched = explaining(pool, ({ text, plan }) => text.includes(LANES.name) && plans.push(plan));
    const backend = sql.create(watched, 'main');
    const due = lanesOn(backend);
    await due.find(40);
    due.forget();
    // From here on it is known that there are many.
    plans.length = 0;
    await due.find(40);
    const lanes = due.take(40);
    expect(lanes).toHaveLength(40);
    const claimed = await claim(backend, lanes, 10, due.token, { lease: 60_000, end: Infinity }, context());
    const first = [...lanes].sort((a, b) => (dueAt(a) < dueAt(b) ? -1 : 1)).slice(0, 10);
    expect(claimed.map(({ id }) => id).sort()).toEqual(first.map(({ id }) => id).sort());
    expect(plans).toHaveLength(2);
    const [look, taking] = plans as [string, string];
    expect(look).toMatch(/Presorted Key[^]*Index Scan using qm_outbox_lanes_i_\w+/);
    expect(taking).toMatch(/Index Scan using qm_outbox_lanes_i_\w+[^]*Index Cond: .*topic.*dueAt.*id = ANY/);
    for (const plan of plans) expect(plan).not.toContain('Seq Scan');
  });

  test('each topic is looked at first in its turn', async () => {
    const due = lanesOn(opened.backend);
    const look = async (): Promise<Stored[]> => {
      await due.find(30);
      return due.take(30);
    };
    const turns = [await look(), await look(), await look(), await look()];
    expect(turns.map((lanes) => lanes.length)).toEqual([30, 30, 30, 30]);
    expect(turns.map(topicsOf)).toEqual([['mail'], ['sms'], ['mail'], ['sms']]);
  });
});

test('the topics after the first fill up what it leaves of a look', async () => {
  const storage = await sharedMemory()();
  for (const key of ['a', 'b', 'c']) await enqueue(storage, key, 1, 'mail');
  for (const key of ['a', 'b', 'c', 'd', 'e']) await enqueue(storage, key, 1, 'sms');
  const { backend } = databaseOf(storage);
  await backend.ensure([COUNTERS], context());
  const due = lanesOn(backend);
  await due.find(5);
  const lanes = due.take(9);
  expect(lanes.map(({ value }) => value['topic']).sort()).toEqual(['mail', 'mail', 'mail', 'sms', 'sms']);
  expect(due.mayBeMore).toBe(true);
  await due.find(9);
  expect(due.take(9)).toHaveLength(8);
  expect(due.mayBeMore).toBe(false);
  await storage.close();
});

test('topics that had nothing are one look together, in their turn', async () => {
  const storage = await sharedMemory()();
  const topics = Array.from({ length: 20 }, (_, i) => `t${i}`);
  for (let key = 0; key < 90; key++) await enqueue(storage, `k${key}`, 1, 't7');
  const { backend } = databaseOf(storage);
  await backend.ensure([COUNTERS], context());
  const find = jest.spyOn(backend, 'find');
  const due = lanesOn(backend, topics);
  const look = async (): Promise<number> => {
    find.mockClear();
    await due.find(10);
    expect(due.take(10)).toHaveLength(10);
    return find.mock.calls.length;
  };
  // Of the first, nobody knows which have some.
  expect(await look()).toBe(8);
  const asked = [await look(), await look(), await look(), await look()];
  expect(Math.max(...asked)).toBeLessThanOrEqual(14);
  expect([await look(), await look(), await look(), await look()].sort()).toEqual([1, 1, 2, 2]);
  for (let key = 0; key < 40; key++) await enqueue(storage, `k${key}`, 1, 't3');
  const met = new Set<string>();
  for (let turn = 0; turn < 4; turn++) {
    await due.find(10);
    topicsOf(due.take(10)).forEach((topic) => met.add(topic as string));
  }
  expect([...met].sort()).toEqual(['t3', 't7']);
  await storage.close();
});

describe('a relay', () => {
  const setUp = async (count: number) => {
    const clock = new ManualClock();
    const open = sharedMemory(7, clock);
    return { clock, managers: await Promise.all(Array.from({ length: count }, () => open())) };
  };
  const rest = async (): Promise<void> => {
    for (let i = 0; i < 100; i++) await settled();
  };

  test('claims all that one look has found under one token', async () => {
    const { managers } = await setUp(1);
    const [storage] = managers;
    for (let key = 0; key < 8; key++) await enqueue(storage!, `k${key}`, key);
    const tokens: number[] = [];
    const relay = storage!.outbox.relay({
      concurrency: 2,
      handlers: { mail: async (_message, { token }) => tokens.push(token) },
    });
    await rest();
    expect(tokens).toHaveLength(8);
    expect(new Set(tokens).size).toBe(1);
    await relay.stop();
    await storage!.close();
  });

  test('what another has done meanwhile of what it found is not done under the older token', async () => {
    const { managers } = await setUp(2);
    const [slow, quick] = managers;
    const all: { key: string; token: number; end: () => void }[] = [];
    const hold = ({ key }: OutboxMessage, { token }: DeliveryContext): Promise<void> =>
      new Promise((end) => all.push({ key, token, end }));
    for (const key of ['ann', 'bob']) await enqueue(slow!, key, 1);
    const first = slow!.outbox.relay({ concurrency: 1, handlers: { mail: hold }, poll: 3_600_000 });
    await rest();
    expect(all).toHaveLength(1);
    const { key: held, token: older, end } = all.pop()!;
    const other = held === 'ann' ? 'bob' : 'ann';
    const second = quick!.outbox.relay({ handlers: { mail: hold }, poll: 3_600_000 });
    await rest();
    const between = all.pop()!;
    expect(between).toMatchObject({ key: other });
    between.end();
    await rest();
    await second.stop();
    await enqueue(quick!, other, 2);
    end();
    await rest();
    const last = all.pop()!;
    expect(last).toMatchObject({ key: other });
    expect(between.token).toBeGreaterThan(older);
    expect(last.token).toBeGreaterThan(between.token);
    last.end();
    await rest();
    await first.stop();
    for (const manager of managers) await manager.close();
  });
});
