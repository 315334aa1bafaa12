/** The worker: handles what is due, keeps its leases, and gives back what it cannot finish. */
import { describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import type { RunContext, StorageManager } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';
import { newJob } from './jobs-target.js';

/** Resolves when the run has come to the status. */
async function reaches(storage: StorageManager, id: string, status: string): Promise<void> {
  const signal = AbortSignal.timeout(60_000);
  for await (const _event of storage.jobs.watchEvents(id, { signal, interval: 20 }))
    if ((await storage.jobs.getRun(id)).status === status) return;
  throw new Error(`${id} did not become ${status}`);
}

for (const target of storageTargets('job workers'))
  describe(`job workers on ${target.name}`, () => {
    const open = useStorage(target);
    const can = (): boolean => {
      const { claims } = open().jobs.capabilities;
      if (!claims) expect(() => open().jobs.work(() => 0)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
      return claims;
    };

    test('handle every run of every tenant once', async () => {
      if (!can()) return;
      const storage = open();
      const seen: unknown[] = [];
      await using worker = storage.jobs.work(
        ({ tenantId, payload }) => {
          seen.push(`${tenantId} ${payload as number}`);
          return { done: payload };
        },
        { concurrency: 10, poll: 50 },
      );
      const expected: string[] = [];
      const last: string[] = [];
      for (const tenant of ['a', 'b']) {
        const { jobs } = storage.tenant(tenant);
        const job = await newJob(storage.tenant(tenant));
        const runs = await jobs.enqueueRuns(
          job.id,
          Array.from({ length: 25 }, (_, payload) => ({ payload })),
        );
        expected.push(...runs.map(({ payload }) => `${tenant} ${payload as number}`));
        last.push(...runs.map(({ id }) => id));
      }
      while (worker.status().succeeded < 50) await new Promise((resolve) => setTimeout(resolve, 5));
      expect(seen.sort()).toEqual(expected.sort());
      expect(await storage.tenant('a').jobs.getRun(last[0]!)).toMatchObject({
        status: 'succeeded',
        result: { done: 0 },
      });
      await worker.stop();
      expect(worker.status()).toMatchObject({ state: 'stopped', inFlight: 0, succeeded: 50, failed: 0, lost: 0 });
    });

    test('use a slot that is free while the others are long, and try nothing again that is done', async () => {
      if (!can()) return;
      const storage = open();
      let end: () => void = () => undefined;
      const ended = new Promise<void>((resolve) => (end = resolve));
      await using worker = storage.jobs.work(
        async ({ payload }) => {
          if (payload === 'long') await ended;
          // No JSON: what was done is done, and not to be done again.
          return payload === 'odd' ? { at: new Date() } : payload;
        },
        { concurrency: 4, poll: 20 },
      );
      const job = await newJob(storage);
      await storage.jobs.enqueueRuns(
        job.id,
        Array.from({ length: 3 }, () => ({ payload: 'long' })),
      );
      while (worker.status().inFlight < 3) await new Promise((resolve) => setTimeout(resolve, 5));
      const odd = await storage.jobs.enqueueRun(job.id, { payload: 'odd' });
      await reaches(storage, odd.id, 'succeeded');
      const done = await storage.jobs.getRun(odd.id);
      expect(done).toMatchObject({ attempt: 1, token: 1 });
      expect(done.result).toBeUndefined();
      const short = await storage.jobs.enqueueRun(job.id, { payload: 'short' });
      await reaches(storage, short.id, 'succeeded');
      // It is at rest a little later than its run: the record is seen before the answer to its writing.
      while (worker.status().inFlight > 3) await new Promise((resolve) => setTimeout(resolve, 5));
      expect(worker.status().inFlight).toBe(3);
      end();
      await worker.stop();
    });

    test('keep what a handler makes of its copy of the run out of the record', async () => {
      if (!can()) return;
      const storage = open();
      const { id: jobId } = await newJob(storage);
      const run = await storage.jobs.enqueueRun(jobId, { payload: { n: [1] }, metadata: { of: { a: 1 } } });
      await using worker = storage.jobs.work(
        ({ payload, metadata }) => {
          (payload as { n: number[] }).n.push(2);
          Object.assign(metadata['of'] as object, { a: 2 });
        },
        { poll: 20 },
      );
      await reaches(storage, run.id, 'succeeded');
      expect(await storage.jobs.getRun(run.id)).toMatchObject({ payload: { n: [1] }, metadata: { of: { a: 1 } } });
      await worker.stop();
    });

    test('try again what failed, from its checkpoint, and give up what cannot succeed', async () => {
      if (!can()) return;
      const storage = open();
      const { id: jobId } = await newJob(storage, { retry: { maxAttempts: 2, backoffSeconds: 0, jitterSeconds: 0 } });
      const [again, never] = await storage.jobs.enqueueRuns(jobId, [{ payload: 'again' }, { payload: 'never' }]);
      await using worker = storage.jobs.work(
        async (run, { checkpoint }) => {
          if (run.payload === 'never') throw Object.assign(new Error('no'), { retryable: false });
          if (run.checkpoint !== undefined) return run.checkpoint.stepIndex;
          await checkpoint({ stepIndex: 7, stepName: 'seven', state: null });
          throw new Error('not yet');
        },
        { poll: 20 },
      );
      await Promise.all([reaches(storage, again!.id, 'succeeded'), reaches(storage, never!.id, 'failed')]);
      expect(await storage.jobs.getRun(again!.id)).toMatchObject({ result: 7, attempt: 2 });
      expect(await storage.jobs.getRun(never!.id)).toMatchObject({ attempt: 1, error: 'no', dead: true });
      await worker.stop();
    });

    test('keep leases, see that a run is cancelled or takes too long, and give back what runs at the end', async () => {
      if (!can()) return;
      const storage = open();
      const { jobs } = storage;
      const single = { retry: { maxAttempts: 1 } };
      const [plain, timed] = await Promise.all([
        newJob(storage, single),
        newJob(storage, { ...single, timeoutSeconds: 0.05 }),
      ]);
      const begun = new Map<string, RunContext & { readonly dueAt: Date }>();
      const worker = jobs.work(
        ({ id, dueAt }, { signal, checkpoint }) => {
          begun.set(id, { signal, checkpoint, dueAt });
          return new Promise(() => undefined);
        },
        { leaseSeconds: 9, poll: 20 },
      );
      const [cancelled, kept, late] = await Promise.all([
        jobs.enqueueRun(plain.id),
        jobs.enqueueRun(plain.id),
        jobs.enqueueRun(timed.id),
      ]);
      await reaches(storage, late.id, 'failed');
      expect(await jobs.getRun(late.id)).toMatchObject({ error: 'timeout' });
      expect(begun.get(late.id)!.signal.aborted).toBe(true);
      await jobs.cancelRun(cancelled.id);
      await reaches(storage, cancelled.id, 'cancelled');
      // Where its lease had ended, a claim wrote that, and the worker finds out next.
      const { signal } = begun.get(cancelled.id)!;
      if (!signal.aborted) await once(signal, 'abort');
      while ((await jobs.getRun(kept.id)).dueAt! <= begun.get(kept.id)!.dueAt)
        await new Promise((resolve) => setTimeout(resolve, 20));
      expect(await jobs.getRun(kept.id)).toMatchObject({ status: 'running', attempt: 1, token: 1 });
      await worker.stop({ deadline: 0 });
      expect(begun.get(kept.id)!.signal.aborted).toBe(true);
      expect(await jobs.getRun(kept.id)).toMatchObject({ status: 'scheduled', attempt: 0, token: 1, queue: 'open' });
      expect(worker.status()).toMatchObject({ state: 'stopped', inFlight: 0 });
      await jobs.cancelRun(kept.id);
    });
  });
