/** Schedules become runs: once an occurrence, as their overlap, their misfires and their job say. */
import { describe, expect, test } from '@jest/globals';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';
import { newJob } from './jobs-target.js';

const HOUR = 3_600_000;
/** The last occurrence before the tests: none comes while they run. */
const LAST = Date.now() - HOUR / 2;
const PAST = new Date(LAST - 1_000 * HOUR);

for (const target of storageTargets('job schedules'))
  describe(`job schedules on ${target.name}`, () => {
    const open = useStorage(target);
    const scheduled = async (schedule: object, job: object = {}): Promise<string> => {
      const { jobs } = open();
      const { id } = await newJob(open(), { status: 'scheduled', ...job });
      const given = { scheduleType: 'interval' as const, expression: '1h', anchorAt: PAST, ...schedule };
      await jobs.upsertSchedule(id, given);
      return id;
    };
    const can = (): boolean => {
      const { changes } = open().jobs.capabilities;
      if (!changes) expect(target.transactions).toBe(false);
      return changes;
    };
    /** Everything that is due, so that no test meets another's. */
    const drain = async (): Promise<void> => {
      const storage = open();
      for (const run of await storage.jobs.claimDue({ workerId: 'drain', limit: 1_000 }))
        await storage.tenant(run.tenantId).jobs.complete(run.id, run.token);
    };

    test('make one run an occurrence, whoever looks', async () => {
      if (!can()) return;
      const { jobs } = open();
      await drain();
      const due = new Date(Date.now() - 1_000);
      const id = await scheduled({ nextRunAt: due, payload: { n: 1 }, priority: 3 });
      const claims = await Promise.all(
        Array.from({ length: 8 }, (_, i) => jobs.claimDue({ workerId: `w${i}`, limit: 5 })),
      );
      const rest = await jobs.claimDue({ workerId: 'rest', limit: 5 });
      const [run, ...others] = [...claims.flat(), ...rest].filter(({ jobId }) => jobId === id);
      expect(others).toEqual([]);
      expect(run).toMatchObject({
        scheduledFor: due,
        payload: { n: 1 },
        priority: 3,
        trigger: 'schedule',
      });
      const schedule = await jobs.getSchedule(id);
      expect(schedule.nextRunAt!.getTime()).toBeGreaterThan(Date.now());
      expect(schedule.lastRunAt).toEqual(due);
      await jobs.complete(run!.id, run!.token);
    });

    test('skip, queue or add what overlaps', async () => {
      if (!can()) return;
      const { jobs } = open();
      await drain();
      const counts: Record<string, number[]> = {};
      for (const overlap of ['skip', 'queue', 'allow'] as const) {
        const id = await scheduled({ overlap, nextRunAt: new Date(Date.now() - 1_000) });
        await jobs.claimDue({ workerId: 'w', limit: 10 });
        const schedule = { scheduleType: 'interval' as const, expression: '1h', anchorAt: PAST, overlap };
        await jobs.upsertSchedule(id, { ...schedule, nextRunAt: new Date(Date.now() - 500) });
        await jobs.claimDue({ workerId: 'w', limit: 10 });
        const { items } = await jobs.listRuns(id);
        const running = items.filter(({ status }) => status === 'running');
        counts[overlap] = [items.length, running.length];
        for (const run of running) await jobs.complete(run.id, run.token);
        for (const run of await jobs.claimDue({ workerId: 'w', limit: 10 })) await jobs.complete(run.id, run.token);
      }
      expect(counts).toEqual({ skip: [1, 1], queue: [2, 1], allow: [2, 2] });
    });

    test('make up for what was missed as they say', async () => {
      if (!can()) return;
      const { jobs } = open();
      await drain();
      const made: Record<string, number> = {};
      for (const misfire of ['runOnce', 'skip', 'runAll'] as const) {
        const nextRunAt = new Date(LAST - 3 * HOUR);
        const id = await scheduled({ misfire, overlap: 'allow', misfireGraceSeconds: 0, nextRunAt });
        await drain();
        made[misfire] = (await jobs.listRuns(id)).items.length;
      }
      expect(made['runOnce']).toBe(1);
      expect(made['skip']).toBe(0);
      expect(made['runAll']).toBe(4);
    });

    test('rest while they are paused, end with their job, and are previewed', async () => {
      if (!can()) return;
      const { jobs } = open();
      const id = await scheduled({});
      const [next] = await jobs.previewNextRuns(id, { count: 3 });
      expect((await jobs.getSchedule(id)).nextRunAt).toEqual(next);
      const paused = await jobs.pauseSchedule(id);
      expect(paused).toMatchObject({ paused: true });
      expect(paused.nextRunAt).toBeUndefined();
      expect((await jobs.pauseSchedule(id)).version).toBe(paused.version);
      expect(await jobs.previewNextRuns(id, { count: 3 })).toHaveLength(3);
      const resumed = await jobs.resumeSchedule(id, { ifVersion: paused.version });
      expect(resumed.nextRunAt).toEqual(next);
      await expect(jobs.pauseSchedule(id, { ifVersion: 1 })).rejects.toMatchObject({ code: 'CONFLICT' });
      await jobs.transition(id, 'cancelled');
      expect((await jobs.getSchedule(id)).nextRunAt).toBeUndefined();
      const types = (await jobs.listEvents(id)).map(({ type }) => type);
      expect(types.filter((type) => type === 'job.schedule_changed')).toHaveLength(3);
      await expect(jobs.getSchedule((await newJob(open())).id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });

    test('stopped with their job are resumed once it is rerun', async () => {
      if (!can()) return;
      const { jobs } = open();
      await drain();
      const id = await scheduled({}, { name: 'stopped' });
      const { nextRunAt } = await jobs.getSchedule(id);
      await jobs.transition(id, 'cancelled');
      await jobs.rerun(id);
      await drain();
      expect(await jobs.get(id)).toMatchObject({ status: 'succeeded' });
      const resumed = await jobs.resumeSchedule(id);
      expect(resumed).toMatchObject({ paused: false, nextRunAt });
      expect(await jobs.resumeSchedule(id)).toEqual(resumed);
      expect(await jobs.transition(id, 'scheduled')).toMatchObject({ status: 'scheduled' });
      const over = await scheduled({ scheduleType: 'once', expression: '2020-01-01' });
      expect(await jobs.resumeSchedule(over)).toMatchObject({ version: 1, paused: false });
    });

    test('of a job that is not scheduled pass by', async () => {
      if (!can()) return;
      const { jobs } = open();
      const id = await scheduled({ nextRunAt: new Date(Date.now() - 1_000) }, { status: 'draft' });
      await drain();
      expect((await jobs.listRuns(id)).items).toEqual([]);
      expect((await jobs.getSchedule(id)).nextRunAt!.getTime()).toBeGreaterThan(Date.now());
    });

    test('limit how many runs are held, of a job', async () => {
      if (!can()) return;
      const { jobs } = open();
      await drain();
      const { id } = await newJob(open(), { maxConcurrent: 2 });
      await jobs.enqueueRuns(
        id,
        Array.from({ length: 5 }, () => ({})),
      );
      const free = await newJob(open());
      await jobs.enqueueRun(free.id);
      const claims = await Promise.all(
        Array.from({ length: 6 }, (_, i) => jobs.claimDue({ workerId: `w${i}`, limit: 3 })),
      );
      const limited = claims.flat().filter(({ jobId }) => jobId === id);
      expect(limited).toHaveLength(2);
      expect(claims.flat().filter(({ jobId }) => jobId === free.id)).toHaveLength(1);
      await jobs.complete(limited[0]!.id, limited[0]!.token);
      expect(await jobs.claimDue({ workerId: 'w', limit: 5 })).toHaveLength(1);
      expect(await jobs.claimDue({ workerId: 'w', limit: 5 })).toHaveLength(0);
    });
  });
