/** What a worker and a claim keep while the database is slow or fails: leases, runs that are taken, and the end of a stop. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import pg from 'pg';
import { systemClock } from '../../src/clock.js';
import { StorageManager } from '../../src/manager.js';
import { registry } from '../../src/registry.js';
import { loadSettings } from '../../src/settings.js';
import type { StorageError } from '../../src/index.js';
import { createTestDatabase } from '../../src/pools/postgres/test-database.js';
import { describeServer, serverUrl } from '../support/postgres/fixture.js';
import { newJob } from './jobs-target.js';

describeServer('jobs in trouble', () => {
  let storage: StorageManager;
  let other: pg.Client;
  let drop: () => Promise<void>;
  /** Of which no time passes between two looks. */
  let standing = false;
  beforeEach(async () => {
    const prepared = await createTestDatabase(serverUrl);
    drop = prepared.drop;
    const overrides = { databases: { main: prepared.url } };
    const settings = await loadSettings({ registry, environment: {}, overrides });
    const clock = { ...systemClock, monotonic: () => (standing ? 0 : systemClock.monotonic()) };
    storage = new StorageManager({ registry, settings, clock });
    await storage.open();
    other = new pg.Client({ connectionString: prepared.url });
    await other.connect();
    await other.query('SET search_path TO quartermaster');
  });
  afterEach(async () => {
    await other.end();
    await storage.close();
    await drop();
    standing = false;
  });

  const lock = async (table: string): Promise<void> => {
    await other.query('BEGIN');
    await other.query(`LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`);
  };

  describe('a worker', () => {
    test('keeps its leases while a claim waits', async () => {
      const leaseSeconds = 6;
      const job = await newJob(storage);
      const begun = new EventTarget();
      const ended = new AbortController();
      let lost = false;
      await using worker = storage.jobs.work(
        async ({ dueAt }, { signal }) => {
          begun.dispatchEvent(Object.assign(new Event('begun'), { dueAt }));
          signal.addEventListener('abort', () => (lost = true));
          await once(ended.signal, 'abort');
        },
        { leaseSeconds, poll: 20 },
      );
      const beginning = once(begun, 'begun') as Promise<[Event & { readonly dueAt: Date }]>;
      const run = await storage.jobs.enqueueRun(job.id);
      const [{ dueAt }] = await beginning;
      // Every claim looks after the schedules once a second.
      await lock('qm_job_schedules');
      const long = dueAt.getTime() + leaseSeconds * 1_000;
      let until = dueAt;
      while (until.getTime() < long && !lost) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        until = (await storage.jobs.getRun(run.id)).dueAt!;
      }
      await other.query('ROLLBACK');
      expect(lost).toBe(false);
      ended.abort();
      while (worker.status().inFlight > 0) await new Promise((resolve) => setTimeout(resolve, 5));
      expect(await storage.jobs.getRun(run.id)).toMatchObject({ status: 'succeeded', attempt: 1 });
    });

    test('is stopped although what it holds cannot be given back', async () => {
      const job = await newJob(storage);
      let begin: () => void;
      const begun = new Promise<void>((resolve) => (begin = resolve));
      const run = await storage.jobs.enqueueRun(job.id);
      const worker = storage.jobs.work(
        (_run, { signal }) => {
          begin();
          return once(signal, 'abort');
        },
        { leaseSeconds: 3_600, poll: 3_600_000, concurrency: 1 },
      );
      await begun;
      await lock('qm_job_runs');
      await worker.stop({ deadline: 10 });
      expect(worker.status()).toMatchObject({ state: 'stopped', inFlight: 0 });
      await other.query('ROLLBACK');
      expect(run.id).toBeDefined();
    });
  });

  describe('a worker that is stopped', () => {
    test('does not wait for a claim that the database does not answer', async () => {
      const worker = storage.jobs.work(() => 0, { leaseSeconds: 3_600, poll: 20 });
      await storage.jobs.stats();
      await lock('qm_job_runs');
      const waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
      while ((await other.query(waiting)).rowCount === 0) await new Promise((resolve) => setTimeout(resolve, 20));
      // By itself the claim ends after a third of the lease.
      await worker.stop({ deadline: 10 });
      expect(worker.status()).toMatchObject({ state: 'stopped' });
      await other.query('ROLLBACK');
    });

    test('keeps the shorter of two deadlines', async () => {
      const job = await newJob(storage);
      await storage.jobs.enqueueRun(job.id);
      const worker = storage.jobs.work(() => new Promise(() => undefined), { poll: 20 });
      while (worker.status().inFlight === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      const first = worker.stop({ deadline: 3_600_000 });
      await worker.stop({ deadline: 10 });
      await first;
      expect(worker.status()).toMatchObject({ state: 'stopped', inFlight: 0 });
    });
  });

  describe('a claim', () => {
    test('gives what it has taken when what it looks after then fails', async () => {
      const told: StorageError[] = [];
      storage.on('error', (error) => told.push(error));
      const job = await newJob(storage);
      standing = true;
      expect(await storage.jobs.claimDue({ workerId: 'w' })).toEqual([]);
      const { id } = await storage.jobs.enqueueRun(job.id);
      await other.query('ALTER TABLE qm_job_schedules RENAME TO away');
      const taken = await storage.jobs.claimDue({ workerId: 'w', limit: 5 });
      expect(taken).toMatchObject([{ id, attempt: 1 }]);
      expect(told).toHaveLength(1);
      // With nothing taken it is the caller's to hear.
      await expect(storage.jobs.claimDue({ workerId: 'w', limit: 5 })).rejects.toMatchObject({ code: told[0]!.code });
      await other.query('ALTER TABLE away RENAME TO qm_job_schedules');
      expect(await storage.jobs.complete(id, taken[0]!.token)).toMatchObject({ status: 'succeeded' });
    });

    test("gives what it has taken of one tenant when another's cannot be", async () => {
      const told: StorageError[] = [];
      storage.on('error', (error) => told.push(error));
      const limited = { maxConcurrent: 1 };
      const [a, b] = [storage.tenant('a'), storage.tenant('b')];
      const first = await a.jobs.enqueueRun((await newJob(a, limited)).id, { priority: 2 });
      await b.jobs.enqueueRun((await newJob(b, limited)).id, { priority: 1 });
      await other.query(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.tenant = 'b' THEN RAISE EXCEPTION 'refused'; END IF; RETURN NEW; END $$`);
      await other.query('CREATE TRIGGER refuse BEFORE UPDATE ON qm_job_runs FOR EACH ROW EXECUTE FUNCTION refuse()');
      expect(await storage.jobs.claimDue({ workerId: 'w', limit: 5 })).toMatchObject([{ id: first.id, attempt: 1 }]);
      expect(told).toHaveLength(1);
    });
  });
});
