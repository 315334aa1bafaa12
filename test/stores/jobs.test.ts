/** Jobs: made, changed, taken through their statuses, rerun, deleted, kept for so long. */
import { randomUUID } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';
import { newJob, PERSONAS } from './jobs-target.js';

for (const target of storageTargets('jobs'))
  describe(`jobs on ${target.name}`, () => {
    const open = useStorage(target);
    const can = (): boolean => {
      const { changes } = open().jobs.capabilities;
      if (!changes) expect(target.transactions).toBe(false);
      return changes;
    };

    test('are refused where records cannot be written together, and read', async () => {
      const { jobs } = open();
      expect(await jobs.list()).toMatchObject({ items: [] });
      await expect(jobs.get(randomUUID())).rejects.toMatchObject({ code: 'NOT_FOUND' });
      if (can()) return;
      const id = randomUUID();
      const code = { code: 'UNSUPPORTED' };
      await expect(jobs.create({ name: 'a' })).rejects.toMatchObject(code);
      await expect(jobs.enqueueRun(id)).rejects.toMatchObject(code);
      await expect(jobs.upsertSchedule(id, { expression: '@daily' })).rejects.toMatchObject(code);
      await expect(jobs.delete(id)).rejects.toMatchObject(code);
      await expect(jobs.retain()).rejects.toMatchObject(code);
      expect(await jobs.retain({}, { dryRun: true })).toEqual({ jobs: 0, runs: 0, dryRun: true });
      expect(await jobs.stats()).toEqual({ jobs: {}, runs: {}, dead: 0, claimLatency: { count: 0 } });
    });

    test('have unique names, and are changed by what differs', async () => {
      if (!can()) return;
      const { jobs } = open();
      const job = await newJob(open(), { name: ' nightly ', description: 'x' });
      expect(job).toMatchObject({ name: 'nightly', status: 'draft', version: 1, events: [{ type: 'job.created' }] });
      await expect(jobs.create({ name: 'nightly' })).rejects.toMatchObject({
        code: 'ALREADY_EXISTS',
        message: 'A job named "nightly" is there already (getByName)',
        details: { name: 'nightly', constraint: 'name', collection: 'qm_jobs' },
      });
      expect((await jobs.getByName('nightly')).id).toBe(job.id);
      const same = await jobs.update(job.id, { description: 'x', metadata: PERSONAS });
      expect(same).toMatchObject({ version: 1, events: [] });
      const changed = await jobs.update(job.id, { description: null, timeoutSeconds: 5 }, { ifVersion: 1 });
      expect(changed).toMatchObject({ version: 2, timeoutSeconds: 5 });
      expect(changed).not.toHaveProperty('description');
      expect(changed.events[0]!.payload['changes']).toEqual({ description: null, timeoutSeconds: 5 });
      await expect(jobs.update(job.id, { name: 'b' }, { ifVersion: 1 })).rejects.toMatchObject({ code: 'CONFLICT' });
      await expect(jobs.update(job.id, { name: 'nightly' }, { ifVersion: 1 })).rejects.toMatchObject({
        code: 'CONFLICT',
      });
      const other = await newJob(open());
      await expect(jobs.update(other.id, { name: 'nightly' })).rejects.toMatchObject({
        code: 'ALREADY_EXISTS',
        details: { name: 'nightly', constraint: 'name' },
      });
      const key = { idempotencyKey: 'once' };
      const first = await jobs.create({ name: 'keyed' }, key);
      expect(await jobs.create({ name: 'keyed' }, key)).toMatchObject({ id: first.id, version: 1, events: [] });
      await expect(jobs.create({ name: 'other' }, key)).rejects.toMatchObject({ details: { reason: 'idempotency' } });
      const run = await jobs.enqueueRun(job.id, { payload: 1, idempotencyKey: 'run' });
      expect((await jobs.enqueueRun(job.id, { payload: 1, idempotencyKey: 'run' })).id).toBe(run.id);
      expect((await jobs.listRuns(job.id)).items).toHaveLength(1);
      await jobs.transition(job.id, 'cancelled');
    });

    test('go from status to status as their guards let them', async () => {
      if (!can()) return;
      const { jobs } = open();
      const bare = await newJob(open(), { metadata: {} });
      await expect(jobs.transition(bare.id, 'running')).rejects.toMatchObject({ details: { guard: 'roster' } });
      await jobs.update(bare.id, { metadata: { roster: [{ name: 'ann' }] } });
      await expect(jobs.transition(bare.id, 'scheduled')).rejects.toMatchObject({
        code: 'INVALID_TRANSITION',
        details: { guard: 'schedule', from: 'draft', to: 'scheduled' },
      });
      await jobs.upsertSchedule(bare.id, { expression: '@yearly' });
      const scheduled = await jobs.transition(bare.id, 'scheduled');
      expect(scheduled.events.map(({ payload }) => payload)).toMatchObject([{ from: 'draft', to: 'scheduled' }]);
      expect(await jobs.transition(bare.id, 'scheduled')).toMatchObject({ events: [], version: scheduled.version });
      await expect(jobs.transition(bare.id, 'scheduled', { ifVersion: 1 })).rejects.toMatchObject({ code: 'CONFLICT' });
      await expect(jobs.transition(bare.id, 'draft')).rejects.toMatchObject({
        details: { from: 'scheduled', to: 'draft', allowed: ['running', 'cancelled'] },
      });

      const { tasks } = open();
      const task = await tasks.create({ title: 'write' });
      const linked = await jobs.linkTask(bare.id, task.id);
      expect(linked).toMatchObject({ relationshipType: 'relates_to', task: { id: task.id, title: 'write' } });
      expect((await jobs.linkTask(bare.id, task.id)).id).toBe(linked.id);
      await expect(jobs.linkTask(bare.id, randomUUID())).rejects.toMatchObject({ code: 'VALIDATION' });
      expect(await jobs.dependenciesComplete(bare.id)).toBe(false);
      await expect(jobs.transition(bare.id, 'running')).rejects.toMatchObject({
        code: 'DEPENDENCY_INCOMPLETE',
        details: { ids: [task.id] },
      });
      await tasks.transition(task.id, 'cancelled');
      expect(await jobs.transition(bare.id, 'running')).toMatchObject({ status: 'running' });
      expect(await jobs.listLinkedTasks(bare.id)).toMatchObject([{ taskId: task.id, task: { status: 'cancelled' } }]);
      await jobs.unlinkTask(bare.id, { taskId: task.id });
      await expect(jobs.unlinkTask(bare.id, { linkId: linked.id })).rejects.toMatchObject({ code: 'NOT_FOUND' });
      expect(await jobs.transition(bare.id, 'succeeded')).toMatchObject({ status: 'succeeded' });
    });

    test('are rerun, whatever became of them, and end as that run does', async () => {
      if (!can()) return;
      const { jobs } = open();
      const job = await newJob(open(), { status: 'cancelled' });
      await expect(jobs.enqueueRun(job.id)).rejects.toMatchObject({
        code: 'CONFLICT',
        details: { reason: 'cancelled' },
      });
      const again = await jobs.rerun(job.id, { ifVersion: 1 });
      expect(again).toMatchObject({
        status: 'running',
        runs: [{ runNumber: 1, trigger: 'rerun', status: 'scheduled' }],
      });
      const claimed = await jobs.claimDue({ workerId: 'w', limit: 100 });
      const run = claimed.find(({ jobId }) => jobId === job.id)!;
      await jobs.complete(run.id, run.token);
      expect(await jobs.get(job.id)).toMatchObject({ status: 'succeeded' });
      expect((await jobs.listEvents(job.id)).at(-1)).toMatchObject({ payload: { from: 'running', to: 'succeeded' } });
    });

    test('take their runs with them when they are cancelled or deleted', async () => {
      if (!can()) return;
      const { jobs } = open();
      const job = await newJob(open());
      const runs = await jobs.enqueueRuns(
        job.id,
        Array.from({ length: 320 }, () => ({})),
      );
      const held = await jobs.claimDue({ workerId: 'w', limit: 1 });
      expect(held[0]!.jobId).toBe(job.id);
      await jobs.transition(job.id, 'cancelled');
      expect((await jobs.stats()).runs).toMatchObject({ running: 1 });
      expect(await jobs.heartbeat(held[0]!.id, held[0]!.token)).toMatchObject({ cancelRequested: true });
      await expect(jobs.delete(job.id)).rejects.toMatchObject({ code: 'CONFLICT', details: { reason: 'held' } });
      expect(await jobs.delete(job.id, { force: true })).toEqual({ deleted: true, runs: 320 });
      await expect(jobs.get(job.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(jobs.getRun(runs[0]!.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(jobs.complete(held[0]!.id, 1)).rejects.toMatchObject({ code: 'LEASE_LOST' });
      expect(await jobs.listEvents(runs[0]!.id)).toEqual([]);
      expect((await jobs.listEvents(job.id)).map(({ type }) => type)).toEqual(['job.deleted']);
    });

    test('have people, who answer', async () => {
      if (!can()) return;
      const { jobs } = open();
      const job = await newJob(open());
      const [ann, bob] = [randomUUID(), randomUUID()];
      const asked = await jobs.assign(job.id, ann, { role: 'lead' });
      expect(asked.events).toMatchObject([{ type: 'job.assignment', payload: { from: null, to: 'pending' } }]);
      expect((await jobs.assign(job.id, ann, { role: 'lead' })).events).toEqual([]);
      await jobs.assign(job.id, bob);
      await jobs.setAssignmentStatus(asked.id, 'accepted');
      await expect(jobs.setAssignmentStatus(asked.id, 'pending')).rejects.toMatchObject({ code: 'INVALID_TRANSITION' });
      expect((await jobs.listAssignments(job.id)).map(({ status }) => status)).toEqual(['accepted', 'pending']);
    });

    test('are kept for so long, and so many runs of them', async () => {
      if (!can()) return;
      const tenant = open().tenant('kept');
      const { jobs } = tenant;
      const job = await newJob(tenant);
      for (let i = 0; i < 5; i++) await jobs.createRun(job.id, { status: 'succeeded', finishedAt: '2020-01-01' });
      await jobs.createRun(job.id);
      expect(await jobs.retain({ keepRuns: 2 }, { dryRun: true })).toEqual({ jobs: 0, runs: 3, dryRun: true });
      expect(await jobs.retain({ keepRuns: 2 })).toEqual({ jobs: 0, runs: 3, dryRun: false });
      expect((await jobs.listRuns(job.id)).items.map(({ runNumber }) => runNumber)).toEqual([6, 5, 4]);
      expect(await jobs.retain({ keepRuns: 0, jobDays: 1 })).toEqual({ jobs: 0, runs: 2, dryRun: false });
      expect(await jobs.retain({ keepRuns: 0, jobDays: 1 })).toEqual({ jobs: 0, runs: 0, dryRun: false });
    });

    test('take part in a transaction', async () => {
      if (!can() || !target.transactions) return;
      const storage = open();
      await newJob(storage);
      const told: string[] = [];
      const failed = storage.transaction(async (tx) => {
        const job = await tx.jobs.create({ name: 'undone' });
        await tx.jobs.enqueueRun(job.id);
        told.push((await tx.jobs.get(job.id, { withRuns: true })).runs![0]!.status);
        throw new Error('undo');
      });
      await expect(failed).rejects.toThrow('undo');
      expect(new Set(told)).toEqual(new Set(['scheduled']));
      await expect(storage.jobs.getByName('undone')).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await storage.transaction((tx) =>
        expect(tx.jobs.claimDue({ workerId: 'w' })).rejects.toMatchObject({ code: 'VALIDATION' }),
      );
    });
  });
