/** The ends of runs that a worker has to write more than once: answers that are lost, faults that pass, a database that is away. */
import { expect, test } from '@jest/globals';
import type { RecordBackend, Write } from '../../src/backends/backend.js';
import { StorageError, UnavailableError } from '../../src/errors.js';
import { openStorage, type RunFailure, type StorageManager } from '../../src/index.js';
import { ManualClock, settled } from '../support/manual-clock.js';
import { databaseOf } from '../support/open-parts.js';
import { gate } from '../support/postgres/fixture.js';
import { sharedMemory } from '../support/shared-memory.js';
import { newJob } from './jobs-target.js';

const open = (): Promise<StorageManager> => openStorage({ databases: { main: 'memory:' } }, { environment: {} });
const RETRY = { maxAttempts: 2, backoffSeconds: 0, jitterSeconds: 0 };

/** Of which runs these writes tell the end. */
function endsIn(writes: readonly Write[]): unknown[] {
  const events = writes.flatMap((write) => ('value' in write ? [write.value] : []));
  return events
    .filter(({ type }) => typeof type === 'string' && /^job\.run_(succeeded|failed|retrying)$/.test(type))
    .map(({ aggregateId }) => aggregateId);
}

/** Does `write` in place of the writes of ends. */
function onEnds(
  storage: StorageManager,
  write: (ends: readonly unknown[], go: () => ReturnType<RecordBackend['write']>) => ReturnType<RecordBackend['write']>,
): void {
  const { backend } = databaseOf(storage);
  const plain = backend.write.bind(backend);
  backend.write = (scope, writes, context) => {
    const go = (): ReturnType<RecordBackend['write']> => plain(scope, writes, context);
    const ends = endsIn(writes);
    return ends.length === 0 ? go() : write(ends, go);
  };
}

test('a failure whose answer was lost is told as any other, and counted', async () => {
  await using storage = await open();
  const { id } = await storage.jobs.enqueueRun((await newJob(storage, { retry: RETRY })).id);
  storage.on('error', () => undefined);
  let answers = 0;
  onEnds(storage, async (_ends, go) => {
    const results = await go();
    if (answers++ % 2 === 0) throw new StorageError('OUTCOME_UNKNOWN', 'The answer was lost');
    return results;
  });
  const failures: RunFailure[] = [];
  await using worker = storage.jobs.work(() => Promise.reject(new Error('boom')), {
    poll: 3_600_000,
    concurrency: 1,
    onFailure: (failure) => failures.push(failure),
  });
  while (failures.length + worker.status().lost < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(failures).toMatchObject([
    { run: { id, attempt: 1 }, dead: false },
    { run: { id, attempt: 2, status: 'failed' }, dead: true },
  ]);
  expect(worker.status()).toMatchObject({ failed: 2, lost: 0 });
});

/** A handler of two runs that end together, and when both have begun. */
function endingTogether(): { readonly handler: () => Promise<void>; readonly both: Promise<void> } {
  let begun = 0;
  let open!: () => void;
  const both = new Promise<void>((resolve) => (open = resolve));
  const handler = (): Promise<void> => {
    if (++begun === 2) open();
    return both;
  };
  return { handler, both };
}

test('a fault that passes, while each of several ends is written by itself, loses none', async () => {
  await using storage = await open();
  const { jobs } = storage;
  const job = await newJob(storage);
  const runs = await jobs.enqueueRuns(job.id, [{}, {}]);
  storage.on('error', () => undefined);
  let alone = 0;
  onEnds(storage, (ends, go) => {
    if (ends.length > 1) return Promise.reject(new StorageError('VALIDATION', 'Together they are too large'));
    if (alone++ === 0) return Promise.reject(new UnavailableError('away', { retryable: true }));
    return go();
  });
  const { handler } = endingTogether();
  await using worker = jobs.work(handler, { poll: 20, concurrency: 2 });
  while (worker.status().succeeded + worker.status().lost < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(worker.status()).toMatchObject({ succeeded: 2, lost: 0 });
  for (const { id } of runs) expect(await jobs.getRun(id)).toMatchObject({ status: 'succeeded', attempt: 1 });
});

test('the end of a run that nothing can write holds up no other', async () => {
  await using storage = await open();
  const { jobs } = storage;
  const [bad, good] = await jobs.enqueueRuns((await newJob(storage)).id, [{}, {}]);
  storage.on('error', () => undefined);
  onEnds(storage, (ends, go) => {
    if (ends.includes(bad!.id)) throw new TypeError('of one run');
    return go();
  });
  const { handler, both } = endingTogether();
  await using worker = jobs.work(handler, { poll: 20, concurrency: 2 });
  await both;
  const until = Date.now() + 60_000;
  while (worker.status().inFlight > 0 && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(worker.status()).toMatchObject({ succeeded: 1, lost: 1, inFlight: 0 });
  expect(await jobs.getRun(good!.id)).toMatchObject({ status: 'succeeded', attempt: 1 });
}, 90_000);

test('an end is written although the database was away for longer than the lease', async () => {
  const clock = new ManualClock();
  const shared = sharedMemory(1, clock);
  const [own, other] = [await shared(), await shared()];
  const { id } = await other.jobs.enqueueRun((await newJob(other)).id);
  own.on('error', () => undefined);
  const { backend } = databaseOf(own);
  const write = backend.write.bind(backend);
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => (end = resolve));
  const worker = own.jobs.work(() => ended, { leaseSeconds: 30, poll: 3_600_000, concurrency: 1 });
  for (let i = 0; i < 100 && worker.status().inFlight === 0; i++) await settled();
  backend.write = () => Promise.reject(new UnavailableError('away'));
  end();
  for (let i = 0; i < 100; i++) await clock.advance(1_000);
  backend.write = write;
  for (let i = 0; i < 10; i++) await clock.advance(1_000);
  expect(await other.jobs.getRun(id)).toMatchObject({ status: 'succeeded', attempt: 1 });
  expect(worker.status()).toMatchObject({ succeeded: 1, lost: 0, inFlight: 0 });
  await worker.stop();
});

test('a run that was cut is not told of as one that succeeds without its result', async () => {
  await using storage = await open();
  const told: StorageError[] = [];
  storage.on('error', (error) => told.push(error));
  const job = await newJob(storage, { timeoutSeconds: 0.02, retry: { ...RETRY, maxAttempts: 1 } });
  const { id } = await storage.jobs.enqueueRun(job.id);
  let isOver: () => void = () => undefined;
  const over = new Promise<void>((resolve) => (isOver = resolve));
  await using worker = storage.jobs.work(
    async (_run, { signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      isOver();
      return { at: new Date() };
    },
    { poll: 20 },
  );
  await over;
  while (worker.status().failed === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await settled();
  expect(await storage.jobs.getRun(id)).toMatchObject({ status: 'failed', error: 'timeout' });
  expect(told.map(({ code, details }) => [code, details['dead']])).toEqual([['INTERNAL', true]]);
});

/** A run whose handler waits for `handled`; what is written from then on is answered when it is `extended`. */
async function slowlyExtended(maxAttempts: number) {
  const clock = new ManualClock();
  const shared = sharedMemory(1, clock);
  const [own, other] = [await shared(), await shared()];
  const told: StorageError[] = [];
  own.on('error', (error) => told.push(error));
  const { id } = await other.jobs.enqueueRun((await newJob(other, { retry: { ...RETRY, maxAttempts } })).id);
  const [handled, extended] = [gate(), gate()];
  const worker = own.jobs.work(() => handled.passed, { leaseSeconds: 30, poll: 3_600_000, concurrency: 1 });
  for (let i = 0; i < 20; i++) await settled();
  const { backend } = databaseOf(own);
  const write = backend.write.bind(backend);
  backend.write = async (...call) => {
    const results = await write(...call);
    await extended.passed;
    return results;
  };
  return { clock, own, other, told, id, handled, extended, worker };
}

test('one that cannot be written while its lease is being extended leaves its run to that lease', async () => {
  const { clock, own, other, id, handled, extended, worker } = await slowlyExtended(2);
  onEnds(own, () => Promise.reject(new StorageError('STORAGE_FULL', 'no room')));
  await clock.advance(12_000);
  handled.open();
  for (let i = 0; i < 20; i++) await settled();
  expect(worker.status()).toMatchObject({ lost: 1, inFlight: 0 });
  const leased = await other.jobs.getRun(id);
  extended.open();
  for (let i = 0; i < 20; i++) await settled();
  expect(await other.jobs.getRun(id)).toEqual(leased);
  await clock.advance(45_000);
  expect(await other.jobs.claimDue({ workerId: 'w' })).toMatchObject([{ id, attempt: 2 }]);
  await worker.stop();
});

test('that of a last attempt, whose lease was extended too late, is told', async () => {
  const { clock, other, told, id, extended, worker } = await slowlyExtended(1);
  await clock.advance(31_000);
  expect(worker.status()).toMatchObject({ lost: 1, inFlight: 0 });
  extended.open();
  for (let i = 0; i < 20; i++) await settled();
  expect(await other.jobs.getRun(id)).toMatchObject({
    status: 'failed',
    dead: true,
    attempt: 1,
    error: 'lease_expired',
  });
  expect(told.map(({ details }) => details)).toContainEqual(expect.objectContaining({ id, reason: 'LEASE_LOST' }));
  await worker.stop();
});

test.each([
  [
    'are to be tried again',
    (refusal: Promise<never>) => Promise.race([refusal, Promise.reject(new UnavailableError('away'))]),
  ],
  ['are not answered', (refusal: Promise<never>) => refusal],
])('ends that %s when the last wait of a stop is over are tried no more', async (_title, write) => {
  const clock = new ManualClock();
  const own = await sharedMemory(1, clock)();
  own.on('error', () => undefined);
  await own.jobs.enqueueRun((await newJob(own, { retry: RETRY })).id);
  const { timers } = clock;
  let refuse!: (error: unknown) => void;
  const refusal = new Promise<never>((_resolve, reject) => (refuse = reject));
  let tries = 0;
  onEnds(own, () => {
    tries++;
    return write(refusal);
  });
  const worker = own.jobs.work(() => 'done', { leaseSeconds: 3_600, poll: 3_600_000, concurrency: 1 });
  for (let i = 0; i < 20; i++) await settled();
  // The next try is more than two seconds away.
  await clock.advance(7_000);
  const stopped = worker.stop({ deadline: 0 });
  await clock.advance(2_000);
  await stopped;
  refuse(new UnavailableError('away'));
  await settled();
  expect(tries).toBeGreaterThan(0);
  expect(clock.timers).toBe(timers);
});
