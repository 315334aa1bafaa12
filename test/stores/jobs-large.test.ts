/** Runs that are large, many of them together: more than one batch may write, and each is claimed, kept and ended all the same. */
import { describe, expect, test } from '@jest/globals';
import type { ClaimedRun } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';
import { newJob } from './jobs-target.js';

const PAYLOAD = 'x'.repeat(524_286);
/** Together they are above 8 MiB. */
const COUNT = 18;

for (const target of storageTargets('large runs'))
  describe(`large runs on ${target.name}`, () => {
    const open = useStorage(target);

    test('wait at a limit and are taken, and hold up no other tenant', async () => {
      const storage = open();
      if (!storage.jobs.capabilities.claims) return expect(target.transactions).toBe(false);
      const [a, b] = [storage.tenant('a'), storage.tenant('b')];
      const limited = await newJob(a, { maxConcurrent: COUNT - 1 });
      for (let i = 0; i < COUNT; i++) await a.jobs.enqueueRun(limited.id, { payload: PAYLOAD });
      const { id } = await b.jobs.enqueueRun((await newJob(b)).id);
      const taken: ClaimedRun[] = [];
      const claim = async (): Promise<readonly ClaimedRun[]> => {
        const runs = await storage.jobs.claimDue({ workerId: 'w', limit: 100, leaseSeconds: 600 });
        taken.push(...runs);
        return runs;
      };
      while ((await claim()).length > 0);
      expect(taken.filter(({ tenantId }) => tenantId === 'b')).toMatchObject([{ id }]);
      const held = taken.filter(({ tenantId }) => tenantId === 'a');
      expect(held).toHaveLength(COUNT - 1);
      for (const run of held) await a.jobs.complete(run.id, run.token);
      expect(await claim()).toMatchObject([{ jobId: limited.id, payload: PAYLOAD }]);
      const last = taken.at(-1)!;
      await a.jobs.complete(last.id, last.token);
    }, 60_000);
  });
