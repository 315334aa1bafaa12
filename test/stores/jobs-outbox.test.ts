/** With `events.outbox`, a job's events are left for subscriptions by the transaction that they tell of, each under its tenant. */
import { describe, expect, test } from '@jest/globals';
import { openStorage, type RelayStatus, type StoreEvent } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';
import { newJob, PERSONAS } from './jobs-target.js';

test('a subscription gets what happened to jobs and runs of every tenant', async () => {
  const settings = { databases: { main: 'memory:' }, events: { outbox: true } };
  await using storage = await openStorage(settings, { environment: {} });
  const seen: string[] = [];
  const note = async ({ tenantId, type }: Pick<StoreEvent, 'tenantId' | 'type'>): Promise<void> => {
    seen.push(`${tenantId} ${type}`);
  };
  const types = ['created', 'schedule_changed', 'status_changed', 'run', 'run_started', 'run_succeeded'];
  const subscription = await storage.subscribe('noting', note, { stores: ['jobs'], poll: 20 });
  const { jobs } = storage.tenant('acme');
  const job = await jobs.create({ name: 'told', metadata: PERSONAS });
  await jobs.upsertSchedule(job.id, { expression: '@daily', nextRunAt: new Date(Date.now() - 1_000) });
  await jobs.transition(job.id, 'scheduled');
  const [run] = await storage.jobs.claimDue({ workerId: 'w' });
  expect(run).toMatchObject({ tenantId: 'acme', jobId: job.id });
  await jobs.complete(run!.id, run!.token);
  const done = ({ delivered }: RelayStatus): boolean => delivered === types.length;
  while (!done(subscription.status())) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(seen.sort()).toEqual(types.map((type) => `acme job.${type}`).sort());
  await subscription.stop();
});

for (const target of storageTargets('crowded jobs with the outbox').filter(({ transactions }) => transactions))
  describe(`crowded jobs with the outbox on ${target.name}`, () => {
    const open = useStorage(target, { events: { outbox: true } });

    test('many runs of one job are made at once', async () => {
      const { jobs } = open();
      const { id } = await newJob(open());
      const made = await Promise.all(Array.from({ length: 40 }, () => jobs.enqueueRun(id, {}, { timeout: 120_000 })));
      expect(new Set(made.map(({ runNumber }) => runNumber)).size).toBe(40);
    });
  });
