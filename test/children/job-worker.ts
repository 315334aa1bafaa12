/**
 * Four workers on one database, which write every run that they handle to standard output, until the process is told to end.
 * `[url, pace, most]`: of what it begins after so many, nothing ends.
 */
import { writeSync } from 'node:fs';
import { setTimeout as after } from 'node:timers/promises';
import { openStorage } from '../../src/index.js';

const [url, pace, most] = process.argv.slice(2) as [string, string, string];
let begun = 0;
const storage = await openStorage({ databases: { main: url } }, { environment: {} });
const workers = Array.from({ length: 4 }, () =>
  storage.jobs.work(
    async (run) => {
      writeSync(1, `begin ${run.id} ${run.token}\n`);
      if (++begun > Number(most)) await new Promise(() => undefined);
      await after(Number(pace));
      return { pid: process.pid, token: run.token };
    },
    { concurrency: 4, leaseSeconds: 5, poll: 50 },
  ),
);
process.stdin.once('data', () => {
  void Promise.all(workers.map((worker) => worker.stop()))
    .then(() => storage.close())
    .then(() => process.exit(0));
});
