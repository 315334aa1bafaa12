/** graphile-worker, whose workers take one job at a time, as many at once as there are. */
import pg from 'pg';
import type { JobQueue } from './queue.js';

interface Library {
  readonly Logger: new (factory: () => () => void) => unknown;
  readonly runMigrations: (options: object) => Promise<void>;
  readonly run: (options: object) => Promise<{ stop(): Promise<void> }>;
}

export async function openGraphileWorker(path: string, url: string, connections: number): Promise<JobQueue> {
  const { Logger, runMigrations, run } = (await import(path)) as Library;
  const pgPool = new pg.Pool({ connectionString: url, max: connections + 2 });
  pgPool.on('error', () => undefined);
  const options = { pgPool, logger: new Logger(() => () => undefined), noHandleSignals: true };
  await runMigrations(options);
  return {
    fill: async (count) => {
      const add = `SELECT graphile_worker.add_job('bench', json_build_object('n', n)) FROM generate_series(1, $1) AS n`;
      await pgPool.query(add, [count]);
    },
    byWorkers: async (count, workers) => {
      let done = 0;
      const runner = await run({ ...options, concurrency: workers, taskList: { bench: () => void done++ } });
      while (done < count) await new Promise((resolve) => setTimeout(resolve, 2));
      // Ends once the last ones are completed.
      await runner.stop();
    },
    close: () => pgPool.end(),
  };
}
