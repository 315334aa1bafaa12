/**
 * On PostgreSQL: claiming and completing runs that are due, by eight workers, beside pg-boss and graphile-worker on the same
 * server. The peers are those of `bench/peers`.
 */
import { createRequire } from 'node:module';
import pg from 'pg';
import { openStorage } from 'quartermaster';
import { median } from '../measure.js';
import { withDatabase } from '../records/database.js';
import { openGraphileWorker } from './jobs/graphile-worker.js';
import { openPgBoss } from './jobs/pg-boss.js';
import type { JobQueue } from './jobs/queue.js';

const WORKERS = 8;
const BATCH = 50;
/** Beside the first, which warms all of them up. */
const ROUNDS = 5;
const MANNERS = ['oneByOne', 'inBatches', 'byWorkers'] as const;
type Manner = (typeof MANNERS)[number];
const PEERS = { 'pg-boss': openPgBoss, 'graphile-worker': openGraphileWorker };
/** What each does beside, since they do not do the same. */
const KEEPS: Readonly<Record<string, string>> = {
  quartermaster: 'two events of each run, fencing tokens; ended runs stay',
  'pg-boss': 'no events; ended jobs stay in its one queue',
  'graphile-worker': 'no events; ended jobs are deleted',
};
const MANIFEST = new URL('../../../bench/peers/package.json', import.meta.url);

async function openOurs(url: string): Promise<JobQueue> {
  const storage = await openStorage({ databases: { main: { url, pool: { max: WORKERS } } } }, { environment: {} });
  const { jobs } = storage;
  const { id } = await jobs.create({ name: 'bench', retry: { maxAttempts: 1 } });
  return {
    fill: async (count) => {
      for (let i = 0; i < count; i += 400)
        await jobs.enqueueRuns(
          id,
          Array.from({ length: Math.min(400, count - i) }, (_, n) => ({ payload: { n } })),
        );
    },
    oneByOne: async (workerId) => {
      for (;;) {
        const [run] = await jobs.claimDue({ workerId });
        if (run === undefined) return;
        await jobs.complete(run.id, run.token);
      }
    },
    byWorkers: async (count, workers, batch) => {
      const own = Array.from({ length: workers }, () => jobs.work(() => undefined, { concurrency: batch, poll: 50 }));
      const done = (): number => own.reduce((sum, worker) => sum + worker.status().succeeded, 0);
      while (done() < count) await new Promise((resolve) => setTimeout(resolve, 2));
      await Promise.all(own.map((worker) => worker.stop()));
    },
    close: () => storage.close(),
  };
}

/** Prints what a run takes, by every queue that is there. */
export function benchJobs(count = 10_000): Promise<void> {
  return withDatabase(async (url) => {
    const client = new pg.Client(url);
    await client.connect();
    const queues = new Map<string, JobQueue>([['quartermaster', await openOurs(url)]]);
    const load = createRequire(MANIFEST);
    for (const [name, open] of Object.entries(PEERS)) {
      const path = resolve(load, name);
      if (path === undefined) console.log(`\n${name} is not there; run: npm ci --ignore-scripts --prefix bench/peers`);
      else queues.set(name, await open(path, url, WORKERS));
    }
    console.log(
      `\n| ${count} runs, ${WORKERS} workers, us a run: best, median | one by one (a fifth of them) | in batches of ${BATCH} | by its own workers | what it keeps |\n|---|---|---|---|---|`,
    );
    const times = new Map([...queues.keys()].map((name) => [name, new Map<Manner, number[]>()]));
    // Every queue in turn, so that what else the machine does falls on all.
    for (let round = 0; round <= ROUNDS; round++)
      for (const [name, queue] of queues)
        for (const manner of MANNERS) {
          if (queue[manner] === undefined) continue;
          // One by one takes long enough with fewer.
          const runs = manner === 'oneByOne' ? Math.ceil(count / 5) : count;
          await queue.fill(runs);
          await client.query('VACUUM ANALYZE');
          const begun = performance.now();
          await begin(queue, manner, runs);
          const took = ((performance.now() - begun) * 1_000) / runs;
          if (round > 0) times.get(name)!.set(manner, [...(times.get(name)!.get(manner) ?? []), took]);
        }
    for (const [name, own] of times)
      console.log(`| ${name} | ${MANNERS.map((manner) => shown(own.get(manner))).join(' | ')} | ${KEEPS[name]} |`);
    for (const queue of queues.values()) await queue.close();
    await client.end();
  });
}

async function begin(queue: JobQueue, manner: Manner, runs: number): Promise<void> {
  if (manner === 'inBatches') await queue.inBatches!(WORKERS, BATCH);
  else if (manner === 'byWorkers') await queue.byWorkers!(runs, WORKERS, BATCH);
  else await Promise.all(Array.from({ length: WORKERS }, (_, i) => queue.oneByOne!(`w${i}`)));
}

function shown(times: readonly number[] = []): string {
  return times.length === 0 ? 'it has none' : `${Math.min(...times).toFixed(0)}, ${median(times).toFixed(0)}`;
}

function resolve(load: NodeJS.Require, name: string): string | undefined {
  try {
    return load.resolve(name);
  } catch {
    return undefined;
  }
}
