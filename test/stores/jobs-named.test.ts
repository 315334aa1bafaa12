/** Workers and claims of named jobs: they take the runs of those, and of no others. */
import { describe, expect, test } from '@jest/globals';
import type { ClaimedRun } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';
import { newJob } from './jobs-target.js';

for (const target of storageTargets('named jobs'))
  describe(`claims of named jobs on ${target.name}`, () => {
    const open = useStorage(target);

    test('leave the others, also behind limits', async () => {
      const storage = open();
      if (!storage.jobs.capabilities.claims) return expect(target.transactions).toBe(false);
      const [a, b] = [storage.tenant('a'), storage.tenant('b')];
      const mail = [await newJob(a, { name: 'mail' }), await newJob(b, { name: 'mail', maxConcurrent: 1 })];
      const [other, full] = [await newJob(a), await newJob(a, { maxConcurrent: 1 })];
      for (const job of [mail[0]!, other, other, full, full]) await a.jobs.enqueueRun(job.id);
      for (let i = 0; i < 3; i++) await b.jobs.enqueueRun(mail[1]!.id);
      const named = (): Promise<readonly ClaimedRun[]> =>
        storage.jobs.claimDue({ workerId: 'w', limit: 10, jobs: ['mail', 'nobody'] });
      const end = (run: ClaimedRun): Promise<unknown> => storage.tenant(run.tenantId).jobs.complete(run.id, run.token);
      const first = await named();
      expect(first.map(({ tenantId, jobName }) => [tenantId, jobName]).sort()).toEqual([
        ['a', 'mail'],
        ['b', 'mail'],
      ]);
      expect(await named()).toEqual([]);
      for (let left = 2, [run] = first.filter(({ tenantId }) => tenantId === 'b'); left >= 0; left--) {
        await end(run!);
        const next = await named();
        expect(next).toHaveLength(Math.min(left, 1));
        [run] = next.length > 0 ? next : [run];
        if (next.length === 0) break;
      }
      await end(first.find(({ tenantId }) => tenantId === 'a')!);
      const rest = await storage.jobs.claimDue({ workerId: 'w', limit: 10 });
      expect(rest.map(({ jobId }) => jobId).sort()).toEqual([other.id, other.id, full.id].sort());
      for (const run of rest) await end(run);
      for (const run of await storage.jobs.claimDue({ workerId: 'w', limit: 10 })) await end(run);
    });

    test('find those that wait at a limit under either name of a job that was renamed', async () => {
      const storage = open();
      const { jobs } = storage;
      if (!jobs.capabilities.claims) return expect(target.transactions).toBe(false);
      const { id } = await newJob(storage, { name: 'before', maxConcurrent: 1 });
      const claim = (name: string): Promise<readonly ClaimedRun[]> =>
        jobs.claimDue({ workerId: 'w', limit: 5, jobs: [name] });
      for (let i = 0; i < 2; i++) await jobs.enqueueRun(id);
      let [held] = await claim('before');
      await jobs.update(id, { name: 'after' });
      for (let i = 0; i < 2; i++) await jobs.enqueueRun(id);
      // Those that come now wait behind the others.
      expect(await claim('after')).toEqual([]);
      for (const name of ['before', 'after', 'after']) {
        await jobs.complete(held!.id, held!.token);
        const taken = await claim(name);
        expect(taken).toMatchObject([{ jobName: name }]);
        [held] = taken;
      }
      await jobs.complete(held!.id, held!.token);
    });

    test('a worker gives each run to the handler of its job', async () => {
      const storage = open();
      if (!storage.jobs.capabilities.claims) return expect(target.transactions).toBe(false);
      const seen: string[] = [];
      const note = (handler: string) => (run: ClaimedRun) => void seen.push(`${handler} ${run.jobName}`);
      await using worker = storage.jobs.work({ red: note('one'), green: note('two') }, { poll: 20 });
      const runs = [];
      for (const name of ['blue', 'red', 'green'])
        runs.push(await storage.jobs.enqueueRun((await newJob(storage, { name })).id));
      while (worker.status().succeeded < 2) await new Promise((resolve) => setTimeout(resolve, 5));
      await worker.stop();
      expect(seen.sort()).toEqual(['one red', 'two green']);
      expect(await storage.jobs.getRun(runs[0]!.id)).toMatchObject({ status: 'scheduled', token: 0 });
    });
  });
