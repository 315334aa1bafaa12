/** Claims: due runs are held by one worker at a time, under a token, until they end or their lease does. */
import { describe, expect, test } from '@jest/globals';
import type { StoreEvent } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';
import { newJob } from './jobs-target.js';

for (const target of storageTargets('job claims'))
  describe(`job claims on ${target.name}`, () => {
    const open = useStorage(target);
    const later = (seconds: number): Date => new Date(Date.now() + seconds * 1_000);

    test('take the most urgent first, once, of every tenant', async () => {
      const storage = open();
      if (!storage.jobs.capabilities.claims) {
        await expect(storage.jobs.claimDue({ workerId: 'w' })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
        await expect(newJob(storage)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
        return;
      }
      const [a, b] = [storage.tenant('a'), storage.tenant('b')];
      const [jobA, jobB] = await Promise.all([newJob(a), newJob(b)]);
      await a.jobs.enqueueRun(jobA.id, { payload: { n: 1 } });
      await b.jobs.enqueueRun(jobB.id, { payload: { n: 2 }, priority: 5 });
      await a.jobs.enqueueRun(jobA.id, { runAt: later(3_600) });
      const runs = await storage.jobs.claimDue({ workerId: 'w1', limit: 10 });
      expect(runs.map(({ tenantId, payload }) => [tenantId, payload]).sort()).toEqual([
        ['a', { n: 1 }],
        ['b', { n: 2 }],
      ]);
      expect(runs[0]).toMatchObject({ status: 'running', token: 1, attempt: 1, workerId: 'w1' });
      expect(await storage.jobs.claimDue({ workerId: 'w2', limit: 10 })).toEqual([]);
      const run = runs.find(({ tenantId }) => tenantId === 'a')!;
      await expect(b.jobs.complete(run.id, run.token)).rejects.toMatchObject({ code: 'LEASE_LOST' });
      await expect(a.jobs.complete(run.id, run.token + 1)).rejects.toMatchObject({ code: 'LEASE_LOST' });
      const done = await a.jobs.complete(run.id, run.token, { result: { ok: true } });
      expect(done).toMatchObject({ status: 'succeeded', result: { ok: true } });
      expect(await a.jobs.complete(run.id, run.token)).toEqual(done);
      await expect(a.jobs.fail(run.id, run.token, { error: 'no' })).rejects.toMatchObject({ code: 'LEASE_LOST' });
      const events = await a.jobs.listEvents(run.id);
      expect(events.map(({ type }) => type)).toEqual(['job.run', 'job.run_started', 'job.run_succeeded']);
      for (const other of runs) if (other.id !== run.id) await b.jobs.release(other.id, other.token);
      const [again] = await storage.jobs.claimDue({ workerId: 'w2', limit: 1 });
      expect(again).toMatchObject({ tenantId: 'b', attempt: 1, token: 2 });
      await b.jobs.complete(again!.id, again!.token);
    });

    for (const [kind, limits] of [
      ['behind no limit', {}],
      ['behind one', { maxConcurrent: 10 }],
    ] as const)
      test(`give the most urgent first, whether more are due than are wanted or not: ${kind}`, async () => {
        const storage = open();
        if (!storage.jobs.capabilities.claims) return expect(target.transactions).toBe(false);
        const { jobs } = storage;
        const name = `urgent ${kind}`;
        const { id } = await newJob(storage, { name, ...limits });
        const urgencies = async (limit: number): Promise<unknown[]> => {
          const runs = await jobs.claimDue({ workerId: 'w', limit, jobs: [name] });
          await Promise.all(runs.map((run) => jobs.complete(run.id, run.token)));
          return runs.map(({ priority }) => priority);
        };
        for (const priority of [99, 98, 97]) await jobs.enqueueRun(id, { priority, runAt: later(3_600) });
        for (const wanted of [[10], [2, 1, 10], [3, 10], [1, 1, 2, 10]]) {
          for (const priority of [1, 9, 5]) await jobs.enqueueRun(id, { priority });
          const got: unknown[] = [];
          for (const limit of wanted) got.push(...(await urgencies(limit)));
          expect(got).toEqual([9, 5, 1]);
        }
        expect(await urgencies(10)).toEqual([]);
      });

    test('last after a heartbeat as long as it says, or no shorter than before', async () => {
      const storage = open();
      if (!storage.jobs.capabilities.claims) return expect(target.transactions).toBe(false);
      const { jobs } = storage;
      const { id } = await jobs.enqueueRun((await newJob(storage, { name: 'beating' })).id);
      const [run] = await jobs.claimDue({ workerId: 'w', leaseSeconds: 600, jobs: ['beating'] });
      const beat = async (options?: object): Promise<number> =>
        (await jobs.heartbeat(id, run!.token, options)).leaseUntil.getTime();
      expect(await beat()).toBeGreaterThanOrEqual(run!.dueAt.getTime());
      const short = await beat({ leaseSeconds: 1 });
      expect(short).toBeLessThan(run!.dueAt.getTime());
      expect(await beat()).toBeGreaterThanOrEqual(short + 59_000);
      await jobs.complete(id, run!.token);
    });

    test('take over what a worker left, until its attempts are used up', async () => {
      const storage = open();
      if (!storage.jobs.capabilities.claims) return expect(target.transactions).toBe(false);
      const { jobs } = storage;
      const retry = { maxAttempts: 2, backoffSeconds: 0, jitterSeconds: 0 };
      const job = await newJob(storage, { retry });
      const { id } = await jobs.enqueueRun(job.id);
      const [first] = await jobs.claimDue({ workerId: 'w1', leaseSeconds: 10 });
      await jobs.saveCheckpoint(id, first!.token, { stepIndex: 3, stepName: 'third', state: { at: 3 } });
      expect(await jobs.claimDue({ workerId: 'w2' })).toEqual([]);
      await jobs.heartbeat(id, first!.token, { leaseSeconds: 30 });
      expect(await jobs.claimDue({ workerId: 'w2', now: later(20) })).toEqual([]);
      const [second] = await jobs.claimDue({ workerId: 'w2', now: later(40), leaseSeconds: 10 });
      expect(second).toMatchObject({ id, token: 2, attempt: 2, checkpoint: { stepIndex: 3, state: { at: 3 } } });
      await expect(jobs.complete(id, first!.token)).rejects.toMatchObject({ code: 'LEASE_LOST' });
      await expect(jobs.heartbeat(id, first!.token)).rejects.toMatchObject({ code: 'LEASE_LOST' });
      expect(await jobs.claimDue({ workerId: 'w3', now: later(60) })).toEqual([]);
      expect(await jobs.getRun(id)).toMatchObject({ status: 'failed', error: 'lease_expired', dead: true });
      const dead = await jobs.listDeadRuns();
      expect(dead.items.map((run) => run.id)).toEqual([id]);
      expect((await jobs.listEvents(id)).map(({ type }) => type.slice(8))).toEqual([
        '',
        'started',
        'lease_expired',
        'retrying',
        'started',
        'lease_expired',
        'failed',
      ]);
    });

    test('are not told to have failed when they were given back, though an attempt before failed with the same words', async () => {
      const storage = open();
      if (!storage.jobs.capabilities.claims) return expect(target.transactions).toBe(false);
      const { jobs } = storage;
      const job = await newJob(storage, { retry: { maxAttempts: 3, backoffSeconds: 0, jitterSeconds: 0 } });
      const { id } = await jobs.enqueueRun(job.id);
      const take = async (): Promise<number> => (await jobs.claimDue({ workerId: 'w' }))[0]!.token;
      const failed = await take();
      await jobs.fail(id, failed, { error: 'again' });
      expect(await jobs.fail(id, failed, { error: 'again' })).toMatchObject({ status: 'scheduled', attempt: 1 });
      const released = await take();
      // The error stays that of the last attempt that failed.
      expect(await jobs.release(id, released)).toMatchObject({ attempt: 1, error: 'again' });
      await expect(jobs.fail(id, released, { error: 'again' })).rejects.toMatchObject({ code: 'LEASE_LOST' });
      const last = await take();
      await jobs.fail(id, last, { error: 'again', retryable: false });
      expect(await jobs.fail(id, last, { error: 'again' })).toMatchObject({ status: 'failed', attempt: 2 });
    });

    test('are told with the next that is written, in the order of what happened, as they are read later', async () => {
      const storage = open();
      if (!storage.jobs.capabilities.claims) return expect(target.transactions).toBe(false);
      const { jobs } = storage;
      const told: StoreEvent[] = [];
      const stop = storage.on('*', (event) => void told.push(event));
      const retry = { maxAttempts: 3, backoffSeconds: 0, jitterSeconds: 0 };
      const { id: jobId, name } = await newJob(storage, { retry });
      await jobs.recordEvent(jobId, { eventType: 'noted', payload: { startedAt: 'then', runId: 'x' } });
      const { id } = await jobs.enqueueRun(jobId);
      const take = async (now?: Date): Promise<number> => {
        const [run] = await jobs.claimDue({ workerId: 'w', jobs: [name], leaseSeconds: 1, now });
        return run!.token;
      };
      await jobs.release(id, await take());
      await jobs.heartbeat(id, await take());
      expect((await jobs.listEvents(id)).at(-1)).toMatchObject({ type: 'job.run_started' });
      await jobs.fail(id, 2, { error: 'again' });
      await take();
      await jobs.fail(id, await take(later(3_600)), { error: 'once more' });
      stop();
      const kept = await jobs.listEvents(id);
      const types = 'run run_started run_released run_started run_retrying run_started run_lease_expired run_retrying';
      expect(kept.map(({ type }) => type.slice(4)).join(' ')).toBe(`${types} run_started run_failed`);
      expect(told.filter(({ aggregateId }) => aggregateId === id)).toEqual(kept);
      expect(kept.map(({ seq }) => seq)).toEqual([...kept].map(({ seq }) => seq).sort((a, b) => a - b));
      expect(new Set(kept.map((event) => event.id)).size).toBe(kept.length);
      const paged: StoreEvent[] = [];
      for (let page; (page = await jobs.listEvents(id, { after: paged.at(-1)?.seq ?? 0, limit: 1 })).length > 0;)
        paged.push(...page);
      expect(paged).toEqual(kept);
      expect((await jobs.listEvents(jobId)).map(({ type }) => type)).toEqual(['job.created', 'job.noted']);
    });

    test('of many at once take every run once', async () => {
      const storage = open();
      if (!storage.jobs.capabilities.claims) return expect(target.transactions).toBe(false);
      const { jobs } = storage;
      const job = await newJob(storage);
      const earlier = (await jobs.stats()).claimLatency.count;
      const made = await jobs.enqueueRuns(
        job.id,
        Array.from({ length: 60 }, (_, n) => ({ payload: n })),
      );
      expect(new Set(made.map(({ runNumber }) => runNumber)).size).toBe(60);
      const taken: string[] = [];
      const work = async (workerId: string): Promise<void> => {
        for (;;) {
          const runs = await jobs.claimDue({ workerId, limit: 7 });
          if (runs.length === 0) return;
          taken.push(...runs.map(({ id }) => id));
        }
      };
      await Promise.all(Array.from({ length: 8 }, (_, i) => work(`w${i}`)));
      // A claim may find everything taken that others are about to have; nothing is left all the same.
      await work('last');
      expect(taken.sort()).toEqual(made.map(({ id }) => id).sort());
      const { runs, claimLatency } = await jobs.stats();
      expect(runs.running).toBe(60);
      // Of those that have ended.
      expect(claimLatency.count).toBe(earlier);
      await jobs.complete(made[0]!.id, 1);
      expect((await jobs.stats()).claimLatency).toEqual({
        count: earlier + 1,
        average: expect.any(Number),
        max: expect.any(Number),
      });
    });
  });
