/**
 * The outbox on PostgreSQL: two dispatchers that deliver what waits, beside the same by hand in SQL, with as many keys and
 * messages at once; with handlers that do nothing, and with such as wait for something. Alone: `node build/bench/unit-of-work/outbox.js`.
 */
import { setTimeout } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import pg from 'pg';
import { openStorage, type StorageManager } from 'quartermaster';
import { median } from '../measure.js';
import { withDatabase } from '../records/database.js';
import { dispatchByHand, fillByHand, prepareByHand } from './outbox-by-hand.js';

const DISPATCHERS = 2;
const CONCURRENCY = 10;
const BATCH = 20;
const ROUNDS = 5;
/** Rounds that are not measured go on for so many milliseconds of dispatching: until the engine has compiled both. */
const WARM_UP = 8_000;
/** `takes`: milliseconds of each delivery. */
const SHAPES = [
  { keys: 500, each: 20, takes: 0 },
  { keys: 2_000, each: 1, takes: 0 },
  { keys: 500, each: 20, takes: 1 },
  { keys: 2_000, each: 1, takes: 5 },
];

async function fillOurs(storage: StorageManager, keys: number, each: number): Promise<void> {
  // By few at once: each is a transaction.
  const fill = async (first: number): Promise<void> => {
    for (let key = first; key < keys; key += 4)
      await storage.transaction(async (tx) => {
        await tx.outbox.enqueueMany(
          Array.from({ length: each }, (_, n) => ({ topic: 'mail', key: `k${key}`, payload: { n } })),
        );
      });
  };
  await Promise.all([0, 1, 2, 3].map(fill));
}

function dispatchOurs(
  managers: readonly StorageManager[],
  count: number,
  deliver: () => Promise<unknown>,
): Promise<void> {
  return new Promise((resolve) => {
    let left = count;
    const relays = managers.map((manager) =>
      manager.outbox.relay({
        handlers: {
          mail: async () => {
            await deliver();
            if (--left === 0) void Promise.all(relays.map((relay) => relay.stop())).then(() => resolve());
          },
        },
        concurrency: CONCURRENCY,
        batch: BATCH,
        poll: 20,
      }),
    );
  });
}

export function benchOutbox(): Promise<void> {
  return withDatabase(async (url) => {
    const client = new pg.Client(url);
    await client.connect();
    await prepareByHand(client);
    const pools = Array.from({ length: DISPATCHERS }, () => new pg.Pool({ connectionString: url, max: CONCURRENCY }));
    const managers = await Promise.all(
      pools.map(() => openStorage({ databases: { main: { url, pool: { max: CONCURRENCY } } } }, { environment: {} })),
    );
    console.log('\n| two dispatchers | ours, us a message: best, median | by hand: best, median | by hand / ours |');
    console.log('|---|---|---|---|');
    for (const { keys, each, takes } of SHAPES) {
      const count = keys * each;
      const deliver = (): Promise<unknown> => (takes === 0 ? Promise.resolve() : setTimeout(takes));
      const times: [number, number][] = [];
      let warmth = 0;
      for (let round = 0; times.length < ROUNDS; round++) {
        await fillOurs(managers[0]!, keys, each);
        await fillByHand(client, keys, each);
        await client.query('VACUUM ANALYZE');
        const ours = (): Promise<unknown> => dispatchOurs(managers, count, deliver);
        const hand = (): Promise<unknown> =>
          Promise.all(pools.map((pool) => dispatchByHand(pool, CONCURRENCY, BATCH, deliver)));
        const row: [number, number] = [0, 0];
        for (const i of round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
          const begun = performance.now();
          await [ours, hand][i]!();
          row[i] = ((performance.now() - begun) * 1_000) / count;
        }
        if (warmth >= WARM_UP) times.push(row);
        else warmth += ((row[0] + row[1]) * count) / 1_000;
      }
      const shown = (i: 0 | 1): string => {
        const own = times.map((row) => row[i]);
        return `${Math.min(...own).toFixed(0)}, ${median(own).toFixed(0)}`;
      };
      const ratio = median(times.map(([ours, hand]) => hand / ours));
      const handlers = takes === 0 ? 'do nothing' : `take ${takes} ms`;
      console.log(
        `| ${keys} keys, ${each} messages each, handlers ${handlers} | ${shown(0)} | ${shown(1)} | ${ratio.toFixed(2)} |`,
      );
    }
    for (const manager of managers) await manager.close();
    for (const pool of pools) await pool.end();
    await client.end();
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await benchOutbox();
