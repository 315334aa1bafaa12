/** Two processes of four workers each, one of which is killed in the midst: every run is done, what it held by the other. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { openStorage, type StorageManager } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';
import { newJob } from './jobs-target.js';

const CHILD = fileURLToPath(new URL('../children/job-worker.js', import.meta.url));
const RUNS = 200;
/** By the one that is killed then, in the midst of the last of them. */
const BEGUN = 40;

interface Worker {
  readonly child: ChildProcess;
  /** The runs that it began, with their tokens. */
  readonly begun: { readonly id: string; readonly token: number }[];
}

for (const target of storageTargets('killed job workers')) {
  if (target.name !== 'postgres') continue;
  describe(`killed job workers on ${target.name}`, () => {
    let storage: StorageManager;
    let url: string;
    let drop: () => Promise<void>;
    const children: ChildProcess[] = [];
    beforeAll(async () => {
      const prepared = await target.prepare();
      ({ url, drop } = prepared);
      storage = await openStorage({ databases: { main: url } }, { environment: {} });
    });
    afterAll(async () => {
      for (const child of children) child.kill('SIGKILL');
      await storage.close();
      await drop();
    });

    function start(most: number, onBegin: (worker: Worker) => void): Worker {
      const child = spawn(process.execPath, [CHILD, url, '20', String(most)], { stdio: ['pipe', 'pipe', 'inherit'] });
      children.push(child);
      const worker: Worker = { child, begun: [] };
      createInterface({ input: child.stdout }).on('line', (line) => {
        const [, id, token] = line.split(' ');
        worker.begun.push({ id: id!, token: Number(token) });
        onBegin(worker);
      });
      return worker;
    }

    test('lose nothing and do nothing twice when one is killed', async () => {
      const { jobs } = storage;
      let killed: Worker | undefined;
      const { id: jobId } = await newJob(storage, { retry: { maxAttempts: 3, backoffSeconds: 0, jitterSeconds: 0 } });
      const made = await jobs.enqueueRuns(
        jobId,
        Array.from({ length: RUNS }, () => ({})),
      );
      // The other comes once the first is at work: it could do all of them while the first still starts.
      const other = await new Promise<Worker>((resolve) => {
        killed = start(BEGUN - 4, ({ child, begun }) => {
          if (begun.length === 1) resolve(start(RUNS, () => undefined));
          if (begun.length === BEGUN) child.kill('SIGKILL');
        });
      });
      if (killed!.child.exitCode === null && killed!.child.signalCode === null) await once(killed!.child, 'exit');
      while (((await jobs.stats()).runs.succeeded ?? 0) < RUNS) await new Promise((resolve) => setTimeout(resolve, 50));
      const ended = once(other.child, 'exit');
      other.child.stdin!.write('end\n');
      await ended;

      const runs = await Promise.all(made.map(({ id }) => jobs.getRun(id)));
      expect(runs.filter(({ status }) => status !== 'succeeded')).toEqual([]);
      for (const run of runs) {
        // Its end is that of its last claim, whoever began it before.
        expect((run.result as { token: number }).token).toBe(run.token);
        expect(run.attempt).toBe(run.token);
        const begins = [...killed!.begun, ...other.begun].filter(({ id }) => id === run.id);
        // Nobody began it twice under one token; what the killed process began without a line was taken over all the same.
        expect(new Set(begins.map(({ token }) => token)).size).toBe(begins.length);
      }
      const takenOver = runs.filter(({ token }) => token > 1);
      expect(takenOver.length).toBeGreaterThan(0);
      const begunThere = new Set(killed!.begun.map(({ id }) => id));
      for (const { id, token, result } of takenOver) {
        expect((result as { pid: number }).pid).toBe(other.child.pid);
        expect(token).toBe(2);
        const types = (await jobs.listEvents(id)).map(({ type }) => type);
        expect(types).toContain('job.run_lease_expired');
        expect(types.filter((type) => type === 'job.run_succeeded')).toHaveLength(1);
      }
      expect(takenOver.filter(({ id }) => begunThere.has(id)).length).toBeGreaterThan(0);
    });
  });
}
