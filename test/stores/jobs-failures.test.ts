/** Who hears of runs and deliveries that failed: the callback that was given, else the manager's event `error`. */
import { expect, test } from '@jest/globals';
import { openStorage, type JobRun, type RunFailure, type StorageError, type StorageManager } from '../../src/index.js';
import { settled } from '../support/manual-clock.js';
import { newJob } from './jobs-target.js';

const open = (): Promise<StorageManager> => openStorage({ databases: { main: 'memory:' } }, { environment: {} });
const RETRY = { maxAttempts: 2, backoffSeconds: 0, jitterSeconds: 0 };

async function failing(storage: StorageManager): Promise<JobRun> {
  const job = await newJob(storage, { name: 'mail', retry: RETRY });
  const [run] = await storage.jobs.enqueueRuns(job.id, [{ payload: 1 }]);
  return run!;
}

test('a run that succeeds after a failure has no error any more, but in its events', async () => {
  await using storage = await open();
  const job = await newJob(storage, { retry: RETRY });
  const { id } = await storage.jobs.enqueueRun(job.id);
  await using worker = storage.jobs.work(
    ({ attempt }) => {
      if (attempt === 1) throw new Error('boom');
    },
    { poll: 5, onFailure: () => undefined },
  );
  while (worker.status().succeeded === 0) await new Promise((done) => setTimeout(done, 5));
  const run = await storage.jobs.getRun(id);
  expect(run).toMatchObject({ status: 'succeeded', attempt: 2 });
  expect(run).not.toHaveProperty('error');
  const retrying = (await storage.jobs.listEvents(id)).filter(({ type }) => type === 'job.run_retrying');
  expect(retrying).toMatchObject([{ payload: { error: 'boom' } }]);
});

test('a worker tells of each attempt that failed, once it is written', async () => {
  await using storage = await open();
  const run = await failing(storage);
  const told: StorageError[] = [];
  storage.on('error', (error) => told.push(error));
  const failures: RunFailure[] = [];
  const thrown = new Error('boom');
  await using worker = storage.jobs.work(
    () => {
      throw thrown;
    },
    {
      poll: 5,
      onFailure: (failure) => {
        failures.push(failure);
        // Also where it is asynchronous.
        return Promise.reject(new Error('ignored')) as never;
      },
    },
  );
  while (failures.length < 2) await settled();
  expect(failures).toMatchObject([
    { run: { id: run.id, jobName: 'mail', attempt: 1 }, dead: false },
    { run: { id: run.id, attempt: 2, status: 'failed' }, dead: true },
  ]);
  expect(failures.map(({ error }) => error)).toEqual([thrown, thrown]);
  expect(await storage.jobs.getRun(run.id)).toMatchObject({ status: 'failed', dead: true, error: 'boom' });
  await worker.stop();
  expect(told).toEqual([]);
});

test('without a callback the manager tells of the run that failed for good', async () => {
  await using storage = await open();
  const run = await failing(storage);
  const told: StorageError[] = [];
  storage.on('error', (error) => told.push(error));
  await using worker = storage.jobs.work(() => Promise.reject(new TypeError('boom')), { poll: 5 });
  while (told.length === 0) await settled();
  await worker.stop();
  expect(told).toMatchObject([
    {
      message: 'A run of the job "mail" failed for good (TypeError)',
      details: { id: run.id, jobName: 'mail', attempt: 2, dead: true },
    },
  ]);
});

test('without a callback the manager tells of the message that is a dead letter', async () => {
  await using storage = await open();
  const told: StorageError[] = [];
  storage.on('error', (error) => told.push(error));
  await using relay = storage.outbox.relay({
    // It need not be asynchronous.
    handlers: {
      mail: () => {
        throw new RangeError('no');
      },
    },
    maxAttempts: 2,
    backoff: { base: 1, max: 1 },
    poll: 5,
  });
  const { id } = await storage.transaction((tx) => tx.outbox.enqueue({ topic: 'mail', key: 'a', payload: 1 }));
  while (told.length === 0) await settled();
  await relay.stop();
  expect(told).toMatchObject([
    {
      message: expect.stringMatching(
        /^A message could not be delivered \(mail, .+\): it is a dead letter \(RangeError\)/,
      ),
      details: { id, topic: 'mail', dead: true },
    },
  ]);
});

test('a run that was cancelled is no failure for good, and is told as dead to who asked', async () => {
  await using storage = await open();
  const run = await failing(storage);
  const told: StorageError[] = [];
  storage.on('error', (error) => told.push(error));
  const failures: RunFailure[] = [];
  await using worker = storage.jobs.work(
    async () => {
      await storage.jobs.cancelRun(run.id);
      throw new Error('boom');
    },
    { poll: 5, onFailure: (failure) => failures.push(failure) },
  );
  while (failures.length === 0) await settled();
  expect(failures).toMatchObject([{ run: { id: run.id, status: 'cancelled' }, dead: true }]);
  await worker.stop();
  expect(told).toEqual([]);
});

test('the manager tells of a run whose last lease ran out', async () => {
  await using storage = await open();
  const job = await newJob(storage, { name: 'mail', retry: { ...RETRY, maxAttempts: 1 } });
  const [run] = await storage.jobs.enqueueRuns(job.id, [{ payload: 1 }]);
  const told: StorageError[] = [];
  storage.on('error', (error) => told.push(error));
  const claim = { workerId: 'gone', leaseSeconds: 0.001 };
  expect(await storage.jobs.claimDue(claim)).toHaveLength(1);
  while (told.length === 0) await storage.jobs.claimDue({ ...claim, workerId: 'next' });
  expect(told).toMatchObject([
    { message: 'A run of the job "mail" failed for good (LEASE_LOST)', details: { id: run!.id, dead: true } },
  ]);
});

test('a callback that is no function is refused', async () => {
  await using storage = await open();
  expect(() => storage.jobs.work(() => 0, { onFailure: 'mail' as never })).toThrow(
    expect.objectContaining({ code: 'VALIDATION', details: expect.objectContaining({ key: 'options.onFailure' }) }),
  );
});

/** What becomes of a run, of one attempt, whose handler throws this. */
async function endOf(thrown: unknown): Promise<{ readonly run: JobRun; readonly failures: readonly RunFailure[] }> {
  await using storage = await open();
  const job = await newJob(storage, { retry: RETRY });
  const { id } = await storage.jobs.enqueueRun(job.id);
  const failures: RunFailure[] = [];
  // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
  const handler = (): Promise<never> => Promise.reject(thrown);
  await using worker = storage.jobs.work(handler, { poll: 5, onFailure: (failure) => failures.push(failure) });
  while (failures.at(-1)?.dead !== true && worker.status().lost === 0) await settled();
  await worker.stop();
  return { run: await storage.jobs.getRun(id), failures };
}

test('an error that says nothing, or cannot be read, is a failure as any other', async () => {
  const odd = [
    Object.assign(new RangeError(), { message: { status: 500 } }),
    Object.assign(new Error(), { message: undefined }),
    null,
    undefined,
    '',
  ];
  const errors = ['RangeError', 'Error', 'null', 'undefined', 'failed'];
  for (const [i, thrown] of odd.entries())
    expect(await endOf(thrown)).toMatchObject({
      run: { status: 'failed', attempt: 2, error: errors[i] },
      failures: [{ error: thrown }, { error: thrown }],
    });
  const trap = (): never => {
    throw new Error('trap');
  };
  for (const thrown of [
    new Proxy({}, { get: trap, getPrototypeOf: trap }),
    Object.defineProperty(new Error('no'), 'code', { get: trap }),
  ]) {
    const { run, failures } = await endOf(thrown);
    expect(run).toMatchObject({ status: 'failed', attempt: 2, error: 'The handler threw what cannot be read' });
    expect(failures.map(({ error }) => error)).toEqual([expect.any(TypeError), expect.any(TypeError)]);
  }
});

test('an error whose message cannot be stored as it is keeps what can be', async () => {
  const permanent = (message: string): Error => Object.assign(new Error(message), { retryable: false });
  const smile = '\u{1f600}';
  for (const [message, error] of [
    ['a \0 of \0', 'a \ufffd of \ufffd'],
    [`${'a'.repeat(999)}${smile}`, `${'a'.repeat(999)}\ufffd`],
    [`${'a'.repeat(998)}${smile}b`, `${'a'.repeat(998)}${smile}`],
  ] as const)
    expect(await endOf(permanent(message))).toMatchObject({ run: { status: 'failed', attempt: 1, error } });
});

test('a run whose result is none that can be kept succeeds without it, and the manager tells of it', async () => {
  const trap = (): never => {
    throw new RangeError('trap');
  };
  for (const [result, why] of [
    [{ at: new Date() }, 'result.at: expected '],
    [10n, 'result: expected '],
    [[undefined], 'result[0]: expected '],
    ['x'.repeat(262_143), 'result: expected at most 262144 bytes of JSON'],
    [new Proxy({}, { getPrototypeOf: trap }), 'it cannot be read (RangeError)'],
  ] as const) {
    await using storage = await open();
    const { id } = await failing(storage);
    const told: StorageError[] = [];
    storage.on('error', (error) => told.push(error));
    await using worker = storage.jobs.work(() => result, { poll: 5 });
    while (worker.status().succeeded + worker.status().failed === 0) await settled();
    expect(told).toMatchObject([{ code: 'VALIDATION', details: { key: 'result', id, jobName: 'mail' } }]);
    expect(told[0]!.message).toContain(`A run of the job "mail" succeeds without its result: ${why}`);
    const run = await storage.jobs.getRun(id);
    expect([run.status, run.attempt, run.result]).toEqual(['succeeded', 1, undefined]);
  }
});
