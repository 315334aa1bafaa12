/** Whether an operation is over when its caller has given it up. */
import assert from 'node:assert/strict';
import { sleep, systemClock } from '../clock.js';
import type { OperationContext } from '../component.js';
import { isStorageError } from '../errors.js';

/** Milliseconds after which what was given up counts as never over. */
const LIMIT = 20_000;

/** @throws unless `work` is over in time. @returns what it gives. */
export async function settled<R>(work: Promise<R>, what: string): Promise<R> {
  const over = new AbortController();
  const late = sleep(systemClock, LIMIT, over.signal).then(() => assert.fail(`${what} is not over after ${LIMIT} ms`));
  late.catch(() => undefined);
  try {
    return await Promise.race([work, late]);
  } finally {
    over.abort();
  }
}

/**
 * Calls an operation with a signal that has aborted, and with a deadline that has passed.
 * @param mayAnswer where there may be nothing to wait for
 * @throws unless it is over soon, refused with `ABORTED` and `TIMEOUT`
 */
export async function assertBounded(
  operation: string,
  act: (context: OperationContext) => Promise<unknown>,
  mayAnswer?: 'may answer',
): Promise<void> {
  const now = systemClock.now();
  const deadline = systemClock.monotonic() + 60_000;
  const bounds = {
    ABORTED: { now, deadline, signal: AbortSignal.abort() },
    TIMEOUT: { now, deadline: systemClock.monotonic() - 1 },
  } as const;
  for (const code of ['ABORTED', 'TIMEOUT'] as const) {
    const ended = (async () => act(bounds[code]))().then(
      () => 'an answer',
      (error: unknown) => (isStorageError(error) ? error.code : error),
    );
    const outcome = await settled(ended, operation);
    if (mayAnswer === undefined || outcome !== 'an answer')
      assert.equal(outcome, code, `${operation}: ${String(outcome)}`);
  }
}
