/** The leases of a worker's runs, whatever its database takes: of many tenants, of ends that wait, of what it cannot reach. */
import { expect, test } from '@jest/globals';
import type { Write } from '../../src/backends/backend.js';
import { TimeoutError, UnavailableError } from '../../src/errors.js';
import type { ClaimedRun, StorageManager } from '../../src/index.js';
import { ManualClock, settled } from '../support/manual-clock.js';
import { databaseOf } from '../support/open-parts.js';
import { gate } from '../support/postgres/fixture.js';
import { sharedMemory } from '../support/shared-memory.js';
import { newJob } from './jobs-target.js';

const SECOND = 1_000;
const AT_ONCE = { maxAttempts: 3, backoffSeconds: 0, jitterSeconds: 0 };

/** Does `before` before each write of the manager's. */
function beforeWrites(storage: StorageManager, before: (writes: readonly Write[]) => Promise<void>): void {
  const { backend } = databaseOf(storage);
  const write = backend.write.bind(backend);
  backend.write = async (scope, writes, context) => {
    await before(writes);
    return write(scope, writes, context);
  };
}

/** Another worker, that takes what it can. */
async function watch(storage: StorageManager): Promise<{ readonly taken: ClaimedRun[]; stop(): Promise<void> }> {
  const taken: ClaimedRun[] = [];
  const worker = storage.jobs.work((run) => void taken.push(run), { leaseSeconds: 30, concurrency: 100 });
  await settled();
  return { taken, stop: () => worker.stop() };
}

test('those of many tenants are kept and ended by a database of slow answers', async () => {
  const clock = new ManualClock();
  const open = sharedMemory(1, clock);
  const [slow, other] = [await open(), await open()];
  const ids = new Map<string, string>();
  for (let i = 0; i < 20; i++) {
    const storage = other.tenant(`t${i}`);
    ids.set(`t${i}`, (await storage.jobs.enqueueRun((await newJob(storage)).id)).id);
  }
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => (end = resolve));
  let [begun, lost] = [0, 0];
  const worker = slow.jobs.work(
    async (_run, { signal }) => {
      signal.addEventListener('abort', () => lost++);
      begun++;
      await ended;
    },
    { leaseSeconds: 30, concurrency: 20 },
  );
  for (let i = 0; i < 100 && begun < 20; i++) await settled();
  // Of all of them, one after another, longer than a lease.
  beforeWrites(slow, () => new Promise((resolve) => void clock.after(3 * SECOND, resolve)));
  const rival = await watch(other);
  for (let i = 0; i < 90; i++) await clock.advance(SECOND);
  end();
  for (let i = 0; i < 90; i++) await clock.advance(SECOND);
  expect([rival.taken, lost]).toEqual([[], 0]);
  expect(worker.status()).toMatchObject({ succeeded: 20, lost: 0, inFlight: 0 });
  for (const [tenant, id] of ids)
    expect(await other.tenant(tenant).jobs.getRun(id)).toMatchObject({ status: 'succeeded', attempt: 1 });
  await Promise.all([worker.stop(), rival.stop()]);
});

test('that of a run is kept until its end is written', async () => {
  const clock = new ManualClock();
  const open = sharedMemory(1, clock);
  const [own, other] = [await open(), await open()];
  const { id } = await other.jobs.enqueueRun((await newJob(other)).id);
  let refusing = true;
  own.on('error', () => undefined);
  beforeWrites(own, (writes) => {
    const isEnd = writes.some((write) => 'value' in write && write.value['type'] === 'job.run_succeeded');
    if (isEnd && refusing) return Promise.reject(new UnavailableError('no room'));
    return Promise.resolve();
  });
  const worker = own.jobs.work(() => 'done', { leaseSeconds: 30 });
  for (let i = 0; i < 20; i++) await settled();
  const rival = await watch(other);
  for (let i = 0; i < 100; i++) await clock.advance(SECOND);
  refusing = false;
  for (let i = 0; i < 10; i++) await clock.advance(SECOND);
  expect(await other.jobs.getRun(id)).toMatchObject({ status: 'succeeded', attempt: 1, result: 'done' });
  expect(rival.taken).toEqual([]);
  expect(worker.status()).toMatchObject({ succeeded: 1, lost: 0, inFlight: 0 });
  await Promise.all([worker.stop(), rival.stop()]);
});

for (const [what, fail] of [
  ['refuses', () => Promise.reject(new UnavailableError('away'))],
  ['does not answer', (back: Promise<void>) => back],
] as const)
  test(`that could not be extended in time, as the database ${what}, is over for its handler`, async () => {
    const clock = new ManualClock();
    const open = sharedMemory(1, clock);
    const [own, other] = [await open(), await open()];
    const { id } = await other.jobs.enqueueRun((await newJob(other, { retry: AT_ONCE })).id);
    own.on('error', () => undefined);
    let away = false;
    const { passed, open: comeBack } = gate();
    beforeWrites(own, () => (away ? fail(passed) : Promise.resolve()));
    let signal: AbortSignal | undefined;
    let end: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => (end = resolve));
    const worker = own.jobs.work(
      (_run, context) => {
        ({ signal } = context);
        return ended;
      },
      { leaseSeconds: 30 },
    );
    for (let i = 0; i < 20; i++) await settled();
    away = true;
    await clock.advance(29 * SECOND);
    expect(signal!.aborted).toBe(false);
    await clock.advance(2 * SECOND);
    expect(signal!.reason).toMatchObject({ code: 'LEASE_LOST' });
    expect(worker.status()).toMatchObject({ lost: 1, inFlight: 0 });
    // What it says now is too late.
    end();
    const rival = await watch(other);
    for (let i = 0; i < 3; i++) await clock.advance(SECOND);
    expect(rival.taken).toMatchObject([{ id, attempt: 2 }]);
    expect(await other.jobs.getRun(id)).toMatchObject({ status: 'succeeded', token: 2 });
    away = false;
    comeBack();
    const stopped = Promise.all([worker.stop({ deadline: 0 }), rival.stop()]);
    await clock.advance(60 * SECOND);
    await stopped;
  });

test('those that were given up while their extension waited, or was under way, are not given anew', async () => {
  const clock = new ManualClock();
  const open = sharedMemory(1, clock);
  const [own, other] = [await open(), await open()];
  own.on('error', () => undefined);
  const tenants = Array.from({ length: 12 }, (_, i) => `t${i}`);
  for (const tenant of tenants) {
    const storage = other.tenant(tenant);
    await storage.jobs.enqueueRun((await newJob(storage, { retry: AT_ONCE })).id);
  }
  let [away, slow] = [false, false];
  const { passed, open: comeBack } = gate();
  beforeWrites(own, () => {
    if (away) return Promise.reject(new UnavailableError('away'));
    return slow ? passed : Promise.resolve();
  });
  let [begun, lost] = [0, 0];
  const worker = own.jobs.work(
    (_run, { signal }) => {
      begun++;
      signal.addEventListener('abort', () => lost++);
      return new Promise(() => undefined);
    },
    { leaseSeconds: 30, concurrency: 12, poll: 3_600_000 },
  );
  for (let i = 0; i < 100 && begun < 12; i++) await settled();
  // It claims none of them again.
  const stopped = worker.stop({ deadline: 3_600_000 });
  away = true;
  await clock.advance(24 * SECOND);
  // Eight are asked for, which the database takes and answers late; the others wait for their turn.
  [away, slow] = [false, true];
  await clock.advance(9 * SECOND);
  expect(lost).toBe(12);
  comeBack();
  for (let i = 0; i < 100; i++) await settled();
  const rival = await watch(other);
  for (let i = 0; i < 5; i++) await clock.advance(SECOND);
  expect(rival.taken.map(({ tenantId }) => tenantId).sort()).toEqual([...tenants].sort());
  expect(rival.taken.map(({ attempt }) => attempt)).toEqual(tenants.map(() => 2));
  await Promise.all([stopped, rival.stop()]);
});

test('that of a run is kept while another, which was given up as it was extended, cannot be given back', async () => {
  const clock = new ManualClock();
  const open = sharedMemory(1, clock);
  const [own, other] = [await open(), await open()];
  const told: unknown[] = [];
  own.on('error', ({ code }) => told.push(code));
  const job = await newJob(own, { retry: AT_ONCE });
  let [away, slow, ends] = [false, false, 0];
  const { passed, open: comeBack } = gate();
  beforeWrites(own, (writes) => {
    if (away) return Promise.reject(new UnavailableError('away'));
    const isEnd = writes.some((write) => 'value' in write && write.value['type'] === 'job.run_lease_expired');
    if (isEnd) {
      ends++;
      return new Promise((_, refuse) => void clock.after(50 * SECOND, () => refuse(new TimeoutError('never'))));
    }
    return slow ? passed : Promise.resolve();
  });
  const signals: AbortSignal[] = [];
  const worker = own.jobs.work(
    (_run, { signal }) => {
      signals.push(signal);
      return new Promise(() => undefined);
    },
    { leaseSeconds: 30, concurrency: 2, poll: 3_600_000 },
  );
  // Two leases that are extended together, the second of which ends later.
  const { id: first } = await own.jobs.enqueueRun(job.id);
  for (let i = 0; i < 100 && signals.length < 1; i++) await settled();
  await clock.advance(2 * SECOND);
  await own.jobs.enqueueRun(job.id);
  for (let i = 0; i < 100 && signals.length < 2; i++) await settled();
  // It claims none of them again.
  const stopped = worker.stop({ deadline: 3_600_000 });
  away = true;
  await clock.advance(24 * SECOND);
  [away, slow] = [false, true];
  await clock.advance(5 * SECOND);
  expect(signals.map(({ aborted }) => aborted)).toEqual([true, false]);
  slow = false;
  comeBack();
  for (let i = 0; i < 100; i++) await settled();
  expect(ends).toBe(1);
  const rival = await watch(other);
  for (let i = 0; i < 60; i++) await clock.advance(SECOND);
  expect(signals[1]!.aborted).toBe(false);
  expect(rival.taken.map(({ id }) => id)).toEqual([first]);
  // What could not be given back is told, as any other fault.
  expect(told).toContain('TIMEOUT');
  const over = Promise.all([worker.stop({ deadline: 0 }), rival.stop(), stopped]);
  await clock.advance(60 * SECOND);
  await over;
});

test('that is over is told to its handler at that moment, not at the next look', async () => {
  const clock = new ManualClock();
  const own = await sharedMemory(1, clock)();
  own.on('error', () => undefined);
  let signal: AbortSignal | undefined;
  const worker = own.jobs.work(
    (_run, context) => {
      ({ signal } = context);
      return new Promise(() => undefined);
    },
    { leaseSeconds: 30, poll: 3_600_000 },
  );
  // The looks are not at the times of the lease.
  await clock.advance(SECOND);
  await own.jobs.enqueueRun((await newJob(own)).id);
  for (let i = 0; i < 100 && signal === undefined; i++) await settled();
  beforeWrites(own, () => Promise.reject(new UnavailableError('away')));
  await clock.advance(30 * SECOND - 1);
  expect(signal!.aborted).toBe(false);
  await clock.advance(1);
  expect(signal!.reason).toMatchObject({ code: 'LEASE_LOST' });
  const stopped = worker.stop({ deadline: 0 });
  await clock.advance(10 * SECOND);
  await stopped;
});

test('that ended while the process was frozen is asked for again, and kept where nobody took the run', async () => {
  const clock = new ManualClock();
  const own = await sharedMemory(1, clock)();
  const { id } = await own.jobs.enqueueRun((await newJob(own)).id);
  let signal: AbortSignal | undefined;
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => (end = resolve));
  const worker = own.jobs.work(
    (_run, context) => {
      ({ signal } = context);
      return ended;
    },
    // No claim of its own meets it first.
    { leaseSeconds: 30, concurrency: 1, poll: 3_600_000 },
  );
  for (let i = 0; i < 20; i++) await settled();
  clock.sleep(100 * SECOND);
  await clock.advance(10 * SECOND);
  expect(signal!.aborted).toBe(false);
  end();
  for (let i = 0; i < 20; i++) await settled();
  expect(await own.jobs.getRun(id)).toMatchObject({ status: 'succeeded', attempt: 1 });
  await worker.stop();
});

test('a worker looks again within ten seconds, however long the database was away', async () => {
  const clock = new ManualClock();
  const open = sharedMemory(1, clock);
  const [own, other] = [await open(), await open()];
  own.on('error', () => undefined);
  const { backend } = databaseOf(own);
  const find = backend.find.bind(backend);
  backend.find = () => Promise.reject(new UnavailableError('away'));
  const done: string[] = [];
  const worker = own.jobs.work(({ id }) => void done.push(id), { leaseSeconds: 30 });
  await clock.advance(600 * SECOND);
  backend.find = find;
  const { id } = await other.jobs.enqueueRun((await newJob(other)).id);
  await clock.advance(11 * SECOND);
  expect(done).toEqual([id]);
  await worker.stop();
});
