/** Jobs of which there is more than one batch takes: they are made and ended all the same. */
import { describe, expect, test } from '@jest/globals';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';
import { newJob } from './jobs-target.js';

const HOUR = 3_600_000;

for (const target of storageTargets('large jobs').filter(({ transactions }) => transactions))
  describe(`large jobs on ${target.name}`, () => {
    const open = useStorage(target);

    test('missed occurrences of more than a batch become runs, look by look, each once', async () => {
      const { jobs } = open();
      const { id } = await newJob(open(), { status: 'scheduled' });
      const first = new Date(Math.floor(Date.now() / HOUR) * HOUR - 23 * HOUR);
      await jobs.upsertSchedule(id, {
        scheduleType: 'interval',
        expression: '1h',
        anchorAt: first,
        nextRunAt: first,
        misfire: 'runAll',
        overlap: 'allow',
        payload: 'x'.repeat(524_286),
      });
      const due = new Date(first.getTime() + 23 * HOUR + 1_000);
      const looks: number[] = [];
      while (looks.length < 24 && (await jobs.getSchedule(id)).nextRunAt! <= due) {
        await jobs.claimDue({ workerId: 'w', jobs: ['nobody'], now: due });
        looks.push((await jobs.listRuns(id, { limit: 100 })).items.length);
      }
      expect(looks[0]).toBeGreaterThan(1);
      expect(looks[0]).toBeLessThan(24);
      const runs = (await jobs.listRuns(id, { limit: 100 })).items;
      expect(runs.map(({ scheduledFor }) => scheduledFor)).toEqual(
        Array.from({ length: 24 }, (_, i) => new Date(first.getTime() + (23 - i) * HOUR)),
      );
      const { nextRunAt, lastRunAt } = await jobs.getSchedule(id);
      expect([nextRunAt, lastRunAt]).toEqual([
        new Date(first.getTime() + 24 * HOUR),
        new Date(first.getTime() + 23 * HOUR),
      ]);
    });

    test('a job is cancelled with all of its runs', async () => {
      const { jobs } = open();
      const { id } = await newJob(open(), { name: 'cancelled' });
      const payload = 'x'.repeat(524_286);
      for (let i = 0; i < 20; i++) await jobs.enqueueRun(id, { payload });
      const [held] = await jobs.claimDue({ workerId: 'w', jobs: ['cancelled'] });
      await jobs.transition(id, 'cancelled');
      const runs = (await jobs.listRuns(id, { limit: 100 })).items;
      const ended = runs.filter((run) => run.id !== held!.id);
      expect(ended).toHaveLength(19);
      for (const run of ended) {
        expect(run).toMatchObject({ status: 'cancelled', finishedAt: expect.any(Date), payload });
        expect(run).not.toHaveProperty('queue');
        expect((await jobs.listEvents(run.id)).at(-1)).toMatchObject({ type: 'job.run_cancelled' });
      }
      expect(await jobs.getRun(held!.id)).toMatchObject({ status: 'running', cancelRequestedAt: expect.any(Date) });
      await jobs.complete(held!.id, held!.token);
    });
  });
