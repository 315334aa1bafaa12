/** Limits of how many runs are held at once: kept at any number, and what they hold back holds back nothing else. */
import { describe, expect, test } from '@jest/globals';
import { openStorage, type ClaimedRun, type StorageManager } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';
import { newJob } from './jobs-target.js';

const many = (count: number): object[] => Array.from({ length: count }, () => ({}));

async function enqueue({ jobs }: Pick<StorageManager, 'jobs'>, jobId: string, count: number): Promise<void> {
  for (let left = count; left > 0; left -= 400) await jobs.enqueueRuns(jobId, many(Math.min(left, 400)));
}

async function complete(storage: StorageManager, run: ClaimedRun): Promise<void> {
  await storage.tenant(run.tenantId).jobs.complete(run.id, run.token);
}

/** What is claimed until nothing is. */
async function claimAll(storage: StorageManager, limit = 1_000): Promise<ClaimedRun[]> {
  const taken: ClaimedRun[] = [];
  for (;;) {
    const runs = await storage.jobs.claimDue({ workerId: 'w', limit });
    if (runs.length === 0) return taken;
    taken.push(...runs);
  }
}

for (const target of storageTargets('job limits'))
  describe(`limits of runs on ${target.name}`, () => {
    const open = useStorage(target);

    test('of jobs that are full do not hide other jobs, and free places are given to those who wait', async () => {
      const storage = open();
      if (!storage.jobs.capabilities.claims) return expect(target.transactions).toBe(false);
      const { jobs } = storage;
      const full = [];
      for (let i = 0; i < 7; i++) {
        const job = await newJob(storage, { maxConcurrent: 1 });
        await enqueue(storage, job.id, 3);
        full.push(job.id);
      }
      const held = await claimAll(storage, 10);
      expect(held.map(({ jobId }) => jobId).sort()).toEqual([...full].sort());
      const other = await newJob(storage, { maxConcurrent: 1 });
      await enqueue(storage, other.id, 1);
      const [sixth, ...none] = await jobs.claimDue({ workerId: 'w', limit: 1 });
      expect(sixth).toMatchObject({ jobId: other.id });
      expect(none).toEqual([]);
      expect(await jobs.claimDue({ workerId: 'w', limit: 1 })).toEqual([]);
      expect((await jobs.stats()).oldestDue).toBeInstanceOf(Date);
      await complete(storage, sixth!);
      for (let left = held; left.length > 0;) {
        for (const run of left) await complete(storage, run);
        left = await claimAll(storage, 1);
        expect(new Set(left.map(({ jobId }) => jobId)).size).toBe(left.length);
      }
      expect((await jobs.stats()).runs).toMatchObject({ succeeded: 22 });
    });

    test('give the most urgent of those who wait the place, and none to those who are cancelled', async () => {
      const storage = open();
      if (!storage.jobs.capabilities.claims) return expect(target.transactions).toBe(false);
      const { jobs } = storage;
      const { id } = await newJob(storage, {
        maxConcurrent: 1,
        retry: { maxAttempts: 5, backoffSeconds: 0, jitterSeconds: 0 },
      });
      await jobs.enqueueRun(id, { payload: 'first' });
      const [first] = await claimAll(storage);
      await jobs.enqueueRun(id, { payload: 'low', priority: 1 });
      const gone = await jobs.enqueueRun(id, { payload: 'gone', priority: 9 });
      const seen: unknown[] = [];
      expect(await claimAll(storage)).toEqual([]);
      await jobs.enqueueRun(id, { payload: 'high', priority: 5 });
      expect(await claimAll(storage)).toEqual([]);
      await jobs.cancelRun(gone.id);
      for (let run: ClaimedRun | undefined = first; run !== undefined; [run] = await claimAll(storage)) {
        seen.push(run.payload);
        // Its place is free while it waits for its next attempt.
        if (run.attempt === 1 && run.payload === 'high') await jobs.fail(run.id, run.token, { error: 'again' });
        else await complete(storage, run);
      }
      expect(seen.slice(0, 2)).toEqual(['first', 'high']);
      // One that failed comes anew: those who come and those who wait take turns.
      expect(seen.slice(2).sort()).toEqual(['high', 'low']);
    });

    test('of eight claims at once are kept while runs end', async () => {
      const storage = open();
      if (!storage.jobs.capabilities.claims) return expect(target.transactions).toBe(false);
      const { id } = await newJob(storage, { maxConcurrent: 3 });
      await enqueue(storage, id, 40);
      let [now, most, done] = [0, 0, 0];
      const work = async (workerId: string): Promise<void> => {
        while (done < 40) {
          const runs = await storage.jobs.claimDue({ workerId, limit: 2 });
          now += runs.length;
          most = Math.max(most, now);
          for (const run of runs) {
            now--;
            await complete(storage, run);
            done++;
          }
        }
      };
      await Promise.all(many(8).map((_, i) => work(`w${i}`)));
      expect(done).toBe(40);
      expect(most).toBeLessThanOrEqual(3);
      expect(most).toBeGreaterThan(0);
    });
  });

describe('limits of runs', () => {
  const opened = (tenantConcurrency = 0): Promise<StorageManager> =>
    openStorage({ databases: { main: 'memory:' }, jobs: { tenantConcurrency } }, { environment: {} });

  test('above a thousand are kept, in claims of a thousand', async () => {
    await using storage = await opened();
    const { id } = await newJob(storage, { maxConcurrent: 2_100 });
    await enqueue(storage, id, 2_400);
    expect(await storage.jobs.claimDue({ workerId: 'w', limit: 1_000 })).toHaveLength(1_000);
    const rest = await claimAll(storage);
    expect(rest).toHaveLength(1_100);
    expect((await storage.jobs.stats()).runs).toEqual({ running: 2_100, scheduled: 300 });
    await complete(storage, rest[0]!);
    expect(await claimAll(storage)).toHaveLength(1);
  });

  test('of tenants above a thousand are kept too', async () => {
    await using storage = await opened(1_200);
    const a = storage.tenant('a');
    await enqueue(a, (await newJob(a)).id, 1_400);
    expect(await claimAll(storage)).toHaveLength(1_200);
  });

  test('of a tenant that is full do not hide the others', async () => {
    await using storage = await opened(2);
    const [a, b] = [storage.tenant('a'), storage.tenant('b')];
    await enqueue(a, (await newJob(a)).id, 3_000);
    const held = await claimAll(storage, 1);
    expect(held).toHaveLength(2);
    await enqueue(b, (await newJob(b)).id, 1);
    // The backlog is looked at once: 1, 10, 100, 1,000, 1,000 of it by one claim.
    const found = await claimAll(storage, 1);
    const late = found.length > 0 ? found : await claimAll(storage, 1);
    expect(late.map(({ tenantId }) => tenantId)).toEqual(['b']);
    await complete(storage, held[0]!);
    expect((await claimAll(storage, 1)).map(({ tenantId }) => tenantId)).toEqual(['a']);
  });

  test('of a tenant and of its jobs are kept together, also when a job goes with its runs', async () => {
    await using storage = await opened(3);
    const a = storage.tenant('a');
    const [one, two] = [await newJob(a, { maxConcurrent: 2 }), await newJob(a, { maxConcurrent: 2 })];
    for (const { id } of [one, two]) await enqueue(a, id, 4);
    const held = await claimAll(storage, 2);
    const of = (runs: readonly ClaimedRun[], id: string): number => runs.filter(({ jobId }) => jobId === id).length;
    expect([held.length, of(held, one.id), of(held, two.id)]).toEqual([3, 2, 1]);
    await a.jobs.delete(two.id, { force: true });
    // The place of the run that went is nobody's while those of the other job are at their limit.
    expect(await claimAll(storage)).toEqual([]);
    const three = await newJob(a);
    await enqueue(a, three.id, 4);
    expect((await claimAll(storage)).map(({ jobId }) => jobId)).toEqual([three.id]);
    for (const run of held.filter(({ jobId }) => jobId === one.id)) await complete(storage, run);
    for (let left = await claimAll(storage); left.length > 0; left = await claimAll(storage)) {
      expect(left.length).toBeLessThanOrEqual(2);
      for (const run of left) await complete(storage, run);
    }
    expect((await a.jobs.stats()).runs).toEqual({ succeeded: 7, running: 1 });
  });
});
