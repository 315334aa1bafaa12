/** pg-boss, by the calls that its workers are made of, and by these: they look again after half a second at the earliest. */
import type { JobQueue } from './queue.js';

interface Boss {
  on(event: 'error', listener: (error: unknown) => void): void;
  start(): Promise<unknown>;
  stop(options: object): Promise<void>;
  createQueue(name: string): Promise<void>;
  insert(jobs: readonly object[]): Promise<void>;
  fetch(name: string, options: { batchSize: number }): Promise<{ readonly id: string }[]>;
  work(name: string, options: object, handler: (jobs: readonly object[]) => Promise<void>): Promise<string>;
  offWork(options: { id: string }): Promise<void>;
  complete(name: string, ids: readonly string[]): Promise<void>;
}

export async function openPgBoss(path: string, url: string, connections: number): Promise<JobQueue> {
  const { default: PgBoss } = (await import(path)) as { default: new (options: object) => Boss };
  const boss = new PgBoss({ connectionString: url, max: connections, supervise: false, schedule: false });
  boss.on('error', (error) => console.error(error));
  await boss.start();
  await boss.createQueue('bench');
  const work = async (batchSize: number): Promise<void> => {
    for (;;) {
      const jobs = await boss.fetch('bench', { batchSize });
      if (jobs.length === 0) return;
      await boss.complete(
        'bench',
        jobs.map(({ id }) => id),
      );
    }
  };
  return {
    fill: async (count) => {
      for (let i = 0; i < count; i += 400)
        await boss.insert(Array.from({ length: Math.min(400, count - i) }, (_, n) => ({ name: 'bench', data: { n } })));
    },
    oneByOne: () => work(1),
    inBatches: async (workers, batch) => void (await Promise.all(Array.from({ length: workers }, () => work(batch)))),
    byWorkers: async (count, workers, batchSize) => {
      let done = 0;
      const settings = { batchSize, pollingIntervalSeconds: 0.5 };
      const begin = (): Promise<string> => boss.work('bench', settings, async (jobs) => void (done += jobs.length));
      const ids = await Promise.all(Array.from({ length: workers }, begin));
      while (done < count) await new Promise((resolve) => setTimeout(resolve, 2));
      await Promise.all(ids.map((id) => boss.offWork({ id })));
    },
    close: () => boss.stop({ graceful: false, wait: true }),
  };
}
