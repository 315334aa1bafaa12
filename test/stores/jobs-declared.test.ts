/** Jobs that a service declares at each of its starts: made once, changed where they differ, and otherwise left alone. */
import { describe, expect, test } from '@jest/globals';
import type { NewSchedule } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';
import { PERSONAS } from './jobs-target.js';

for (const target of storageTargets('declared jobs'))
  describe(`declared jobs on ${target.name}`, () => {
    const open = useStorage(target);
    const can = (): boolean => {
      const { changes } = open().jobs.capabilities;
      if (!changes) expect(target.transactions).toBe(false);
      return changes;
    };
    const nightly = { expression: '30 2 * * *', timezone: 'Europe/Berlin' };

    test('are refused where records cannot be written together', async () => {
      const ensured = open().jobs.ensure({ name: 'refused' });
      if (can()) expect(await ensured).toMatchObject({ name: 'refused', status: 'draft' });
      else await expect(ensured).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    });

    test('are made once, by any number at the same time', async () => {
      if (!can()) return;
      const { jobs } = open();
      const declared = { name: 'crowd', status: 'scheduled' as const, retry: { maxAttempts: 5 } };
      const made = await Promise.all(Array.from({ length: 20 }, () => jobs.ensure(declared, { schedule: nightly })));
      expect(new Set(made.map(({ id }) => id)).size).toBe(1);
      const told = made.flatMap(({ events }) => events.map(({ type }) => type));
      expect(told).toEqual(['job.created', 'job.schedule_changed']);
      const { version, retry, schedule, events } = await jobs.get(made[0]!.id, {
        withSchedule: true,
        withEvents: true,
      });
      expect({ version, retry }).toMatchObject({ version: 1, retry: { maxAttempts: 5, backoffSeconds: 30 } });
      expect(schedule!.nextRunAt!.getTime()).toBeGreaterThan(Date.now());
      expect(events).toHaveLength(2);
    });

    test('are left as they are where they say the same, with an occurrence that is due', async () => {
      if (!can()) return;
      const { jobs } = open();
      const job = { name: 'due', status: 'scheduled' as const, metadata: { a: 1 }, description: undefined };
      const hourly = { scheduleType: 'interval' as const, expression: '1h', payload: { n: 1 }, startAt: '2026-01-01' };
      const { id } = await jobs.ensure(job, { schedule: hourly });
      const due = new Date(Date.now() - 1_000);
      await jobs.upsertSchedule(id, { ...hourly, nextRunAt: due });
      const { version } = await jobs.get(id);
      expect(await jobs.ensure(job, { schedule: hourly })).toMatchObject({ id, version, events: [] });
      // What is not said is not changed.
      expect(await jobs.ensure({ name: 'due' })).toMatchObject({ id, version, metadata: { a: 1 }, events: [] });
      expect(await jobs.getSchedule(id)).toMatchObject({ nextRunAt: due, payload: { n: 1 } });
    });

    test('keep of their retry policy what is not given, as an update does', async () => {
      if (!can()) return;
      const { jobs } = open();
      const { id } = await jobs.ensure({ name: 'retried', retry: { backoffSeconds: 0, jitterSeconds: 0 } });
      const given = { name: 'retried', retry: { maxAttempts: 5 } };
      expect(await jobs.ensure(given)).toMatchObject({
        retry: { maxAttempts: 5, backoffSeconds: 0, jitterSeconds: 0, multiplier: 2 },
      });
      expect(await jobs.ensure(given)).toMatchObject({ version: 2, events: [] });
      expect(await jobs.update(id, { retry: { multiplier: 3 } })).toMatchObject({
        retry: { maxAttempts: 5, backoffSeconds: 0, jitterSeconds: 0, multiplier: 3 },
      });
      await jobs.update(id, { retry: null });
      expect(await jobs.update(id, { retry: { multiplier: 3 } })).toMatchObject({
        retry: { maxAttempts: 3, backoffSeconds: 30, jitterSeconds: 5, multiplier: 3 },
      });
    });

    test('are scheduled with a schedule, and a draft of an earlier declaration becomes so too', async () => {
      if (!can()) return;
      const { jobs } = open();
      expect((await jobs.ensure({ name: 'by schedule' }, { schedule: nightly })).status).toBe('scheduled');
      const { id } = await jobs.ensure({ name: 'drafted', status: 'draft' }, { schedule: nightly });
      const ensured = await jobs.ensure({ name: 'drafted' }, { schedule: nightly });
      expect(ensured).toMatchObject({ id, status: 'scheduled', version: 2 });
      expect(ensured.events).toMatchObject([
        { type: 'job.status_changed', payload: { from: 'draft', to: 'scheduled' } },
      ]);
      expect(await jobs.ensure({ name: 'drafted' }, { schedule: nightly })).toMatchObject({ version: 2, events: [] });
      await jobs.transition(id, 'cancelled');
      expect((await jobs.ensure({ name: 'drafted' }, { schedule: nightly })).status).toBe('cancelled');
    });

    test('that have failed or succeeded are scheduled again while occurrences of their schedule are to come', async () => {
      if (!can()) return;
      const { jobs } = open();
      const over = async (name: string, status: 'failed' | 'succeeded', schedule: NewSchedule): Promise<string> => {
        const { id } = await jobs.ensure({ name, metadata: PERSONAS }, { schedule });
        await jobs.transition(id, 'running');
        await jobs.transition(id, status);
        return id;
      };
      for (const status of ['failed', 'succeeded'] as const) {
        const id = await over(`was ${status}`, status, nightly);
        // Without its schedule it is declared as what it is, and what is over stays so.
        const name = `was ${status}`;
        expect(await jobs.ensure({ name, status: 'scheduled' })).toMatchObject({ status, events: [] });
        expect(await jobs.ensure({ name, status: 'draft' }, { schedule: nightly })).toMatchObject({
          status,
          events: [],
        });
        const again = await jobs.ensure({ name }, { schedule: nightly });
        expect(again).toMatchObject({ id, status: 'scheduled' });
        expect(again.events).toMatchObject([
          { type: 'job.status_changed', payload: { from: status, to: 'scheduled' } },
        ]);
        expect(await jobs.ensure({ name }, { schedule: nightly })).toMatchObject({ events: [] });
        const due = new Date((await jobs.getSchedule(id)).nextRunAt!.getTime() + 1_000);
        const runs = await jobs.claimDue({ workerId: 'w', jobs: [name], now: due });
        expect(runs).toMatchObject([{ jobId: id, trigger: 'schedule' }]);
      }
      await jobs.pauseSchedule(await over('over and paused', 'failed', nightly));
      expect((await jobs.ensure({ name: 'over and paused' }, { schedule: nightly })).status).toBe('scheduled');
      const once = { scheduleType: 'once' as const, expression: new Date(Date.now() + 3_600_000).toISOString() };
      const id = await over('over for good', 'succeeded', once);
      const past = { ...once, expression: '2026-01-01T00:00:00Z' };
      expect((await jobs.ensure({ name: 'over for good' }, { schedule: past })).status).toBe('succeeded');
      expect((await jobs.getSchedule(id)).nextRunAt).toBeUndefined();
      expect((await jobs.ensure({ name: 'over for good' }, { schedule: nightly })).status).toBe('scheduled');
    });

    test('have the status that is meant, however it is written', async () => {
      if (!can()) return;
      const { jobs } = open();
      const ensure = async (name: string, status: unknown, schedule?: typeof nightly): Promise<string> =>
        (await jobs.ensure({ name, status: status as 'draft' }, { schedule })).status;
      expect(await ensure('in capitals', ' Scheduled ', nightly)).toBe('scheduled');
      expect((await jobs.list({ status: 'scheduled' })).items.map(({ name }) => name)).toContain('in capitals');
      for (const blank of [undefined, null, ' ']) {
        expect(await ensure(`blank ${blank}`, blank)).toBe('draft');
        expect(await ensure(`blank ${blank} with a schedule`, blank, nightly)).toBe('scheduled');
      }
      await jobs.create({ name: 'a draft so far' });
      expect(await ensure('a draft so far', 'SCHEDULED')).toBe('scheduled');
    });

    test('are changed where they differ, except for the status', async () => {
      if (!can()) return;
      const { jobs } = open();
      const { id } = await jobs.ensure({ name: 'changed', status: 'scheduled' }, { schedule: nightly });
      await jobs.transition(id, 'cancelled');
      const ensured = await jobs.ensure(
        { name: 'changed', status: 'scheduled', timeoutSeconds: 5 },
        { schedule: { ...nightly, misfire: 'SKIP' as never } },
      );
      expect(ensured).toMatchObject({ id, status: 'cancelled', timeoutSeconds: 5, version: 3 });
      expect(ensured.events.map(({ type, payload }) => [type, payload['changes'] ?? payload['action']])).toEqual([
        ['job.updated', { timeoutSeconds: 5 }],
        ['job.schedule_changed', 'set'],
      ]);
      expect(await jobs.getSchedule(id)).toMatchObject({ misfire: 'skip', timezone: 'Europe/Berlin' });
    });

    test('of a job that was cancelled have no occurrence to come until their schedule is resumed', async () => {
      if (!can()) return;
      const { jobs } = open();
      const job = { name: 'stopped', metadata: { persona: 'ann' } };
      const changed = async (expression: string): Promise<Date | undefined> => {
        const { id } = await jobs.ensure(job, { schedule: { expression } });
        return (await jobs.getSchedule(id)).nextRunAt;
      };
      expect(await changed('@daily')).toBeInstanceOf(Date);
      const { id } = await jobs.getByName('stopped');
      await jobs.transition(id, 'cancelled');
      expect(await changed('@hourly')).toBeUndefined();
      expect(await jobs.getSchedule(id)).toMatchObject({ expression: '@hourly', paused: false });
      await jobs.rerun(id);
      expect(await changed('@weekly')).toBeUndefined();
      await jobs.resumeSchedule(id);
      expect(await changed('@monthly')).toBeInstanceOf(Date);
      // One that has ended by itself was not stopped.
      await jobs.ensure(job, { schedule: { scheduleType: 'once', expression: '2026-01-01T00:00:00Z' } });
      expect(await changed('@daily')).toBeInstanceOf(Date);
    });

    test('stay paused until it is said that they are not', async () => {
      if (!can()) return;
      const { jobs } = open();
      const job = { name: 'paused', status: 'scheduled' as const };
      const { id } = await jobs.ensure(job, { schedule: nightly });
      await jobs.pauseSchedule(id);
      expect((await jobs.ensure(job, { schedule: nightly })).events).toEqual([]);
      await jobs.ensure(job, { schedule: { ...nightly, priority: 2 } });
      expect(await jobs.getSchedule(id)).toMatchObject({ paused: true, priority: 2 });
      await jobs.ensure(job, { schedule: { ...nightly, priority: 2, paused: false } });
      const { paused, nextRunAt } = await jobs.getSchedule(id);
      expect({ paused, isDue: nextRunAt instanceof Date }).toEqual({ paused: false, isDue: true });
    });

    test('are made in a transaction, or not at all', async () => {
      if (!can() || !target.transactions) return;
      const storage = open();
      const failed = storage.transaction(async (tx) => {
        await tx.jobs.ensure({ name: 'undone' }, { schedule: nightly });
        expect((await tx.jobs.ensure({ name: 'undone' }, { schedule: nightly })).events).toEqual([]);
        throw new Error('no');
      });
      await expect(failed).rejects.toThrow('no');
      await expect(storage.jobs.getByName('undone')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });
  });
