/** A transaction within a transaction: what its function did is undone by itself when it throws. */
import { aborted, within } from '../clock.js';
import { unanswered, type OperationContext } from '../component.js';
import { invalid, UnsupportedError, ValidationError } from '../errors.js';
import type { Attempt, Bounded } from './attempt.js';
import { compensationFailure, runHooks } from './hooks.js';
import { checkRetries, type TransactionCallOptions } from './transaction.js';

/**
 * Runs `work` once as a part of `outer`. When it throws, it alone is undone, and its compensations run; what it kept is
 * committed, or undone, with `outer`.
 * @throws what `work` throws; a conflict, with which the whole transaction is over and run again; `UNSUPPORTED`.
 */
export async function runInner<R>(
  outer: Attempt,
  options: TransactionCallOptions,
  work: (attempt: Attempt) => Promise<R>,
): Promise<R> {
  check(outer, options);
  const { context, end } = outer.begin('transaction', options);
  const part = outer.openPart(context, boundedBy(outer, context, options));
  try {
    const result = await outer.pool.savepoint(outer.session, async () => {
      try {
        if (context.signal?.aborted === true) throw aborted(context.signal, 'transaction');
        return await part.bounded(part.run(work));
      } finally {
        // Nothing of a function that was cut may come after its undoing.
        await part.settle();
      }
    });
    outer.committed.push(...part.committed);
    outer.rolledBack.push(...part.rolledBack.splice(0));
    return result;
  } catch (error) {
    // What is not undone by itself is undone, and compensated, with the whole.
    if (outer.session.failure !== undefined) {
      outer.rolledBack.push(...part.rolledBack.splice(0));
      throw error;
    }
    const compensations = part.takeCompensations();
    outer.closePart();
    const failed = await runHooks(compensations);
    throw failed.length > 0 ? compensationFailure(error, failed) : error;
  } finally {
    outer.closePart();
    end();
    if (outer.isAbandoned()) await unanswered();
  }
}

function check(outer: Attempt, { on, isolation, retries, ...call }: TransactionCallOptions): void {
  outer.context('transaction', call);
  checkRetries(retries);
  if (on !== undefined && on !== outer.database) throw invalid('on', on, `nothing, or ${outer.database}, as around it`);
  if (isolation !== undefined && isolation !== outer.isolation)
    throw invalid('isolation', isolation, `nothing, or '${outer.isolation}', as around it`);
  if (!outer.on.backend.capabilities.savepoints)
    throw new UnsupportedError(`The database ${outer.database} has no savepoints, for a transaction within another`, {
      operation: 'transaction',
    });
  const { operations } = outer;
  if (operations.length > 0)
    throw new ValidationError(
      'VALIDATION',
      `transaction: begun before ${operations.join(', ')} of the transaction around it had answered: await every call`,
      { operation: 'transaction', details: { operations } },
    );
}

/** Each part keeps its own bounds: it may end later than one within it, and need not listen to the same signal. */
function boundedBy(
  outer: Attempt,
  { deadline }: OperationContext,
  { timeout, signal }: TransactionCallOptions,
): Bounded {
  if (timeout === undefined && signal === undefined) return outer.bounded;
  const late = 'The deadline of the transaction has passed';
  return (work) =>
    outer.bounded(within(work, { deadline, signal }, outer.on.clock, late, { operation: 'transaction' }));
}
