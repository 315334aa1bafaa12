/** A transaction over one database: its session, the function run again on a conflict, and the hooks. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { sleep, type Clock } from '../clock.js';
import type { BeginOperation, CallOptions, OperationContext, Session } from '../component.js';
import { invalid, isSerializationFailure, isStorageError, StorageError, ValidationError } from '../errors.js';
import type { Isolation, Pool } from '../pools/pool.js';

export interface TransactionCallOptions extends CallOptions {
  /** Default: `serializable`. A backend that offers only a stronger level gives that. */
  readonly isolation?: Isolation | undefined;
  /** The database. Default: that of the collections that name none. */
  readonly on?: string | undefined;
  /** How often the whole function is run again after a conflict; default 10. */
  readonly retries?: number | undefined;
}

/** The database that a transaction runs on. */
export interface TransactionDatabase {
  readonly name: string;
  readonly pool: Pool;
  readonly clock: Clock;
}

type Hook = () => void | Promise<void>;

/**
 * Asks for tables that are not there yet: the transaction rolls back, makes them, and runs the function again. The function
 * meets it as any error of a storage; whatever it makes of it, this run is over.
 */
export class TablesMissing extends StorageError {
  constructor(readonly ensure: (context: OperationContext) => Promise<void>) {
    const message =
      'The tables of a collection are not there yet: this run of the transaction is rolled back, and its function run again once they are';
    super('UNAVAILABLE', message, { operation: 'transaction', details: { reason: 'tables' } });
  }
}

/** One run of a transaction's function. */
export class Attempt {
  readonly committed: Hook[] = [];
  readonly rolledBack: Hook[] = [];
  /** Set by the first use of a collection whose tables are missing, whatever the function makes of the error. */
  missing: TablesMissing | undefined;
  private ended = false;
  /** Operations that have not answered yet, by the ends that they will tell. */
  private readonly pending = new Map<() => void, string>();
  private onIdle: (() => void) | undefined;

  constructor(
    private readonly on: TransactionDatabase,
    private readonly session: Session,
    private readonly outer: OperationContext,
    /** The attempt whose function began this transaction, on another pool. */
    private readonly enclosing: Attempt | undefined,
  ) {}

  get pool(): Pool {
    return this.on.pool;
  }

  get database(): string {
    return this.on.name;
  }

  get active(): boolean {
    return !this.ended;
  }

  end(): void {
    this.ended = true;
  }

  /** Whether this or a transaction around it runs on `pool`. */
  holds(pool: Pool): boolean {
    return (this.active && this.pool === pool) || this.enclosing?.holds(pool) === true;
  }

  /** Stops this run: the tables are made once it has rolled back, and the function is run again. */
  require(ensure: (context: OperationContext) => Promise<void>): never {
    throw (this.missing ??= new TablesMissing(ensure));
  }

  /** Admits an operation of the transaction. @throws `CLOSED` after its end. */
  readonly begin: BeginOperation = (operation, options) => {
    const context = this.context(operation, options);
    const end = (): void => {
      this.pending.delete(end);
      if (this.pending.size === 0) this.onIdle?.();
    };
    this.pending.set(end, operation);
    return { context, end };
  };

  /** For what the transaction's own function awaits: nothing counts it. @throws as `begin` */
  context(operation: string, options?: CallOptions): OperationContext {
    if (this.ended)
      throw new StorageError('CLOSED', 'The transaction has ended; its handles cannot be used any more', { operation });
    if (this.missing !== undefined) throw this.missing;
    const deadline = Math.min(this.outer.deadline, this.on.clock.monotonic() + (options?.timeout ?? Infinity));
    const signal = options?.signal ?? this.outer.signal;
    return { now: this.on.clock.now(), deadline, signal, session: this.session };
  }

  /**
   * Ends the run. A function that has returned while an operation of it was under way did not await it, and cannot know what
   * became of it: once that has answered, this run is over. @throws `VALIDATION`
   */
  async finish(): Promise<void> {
    this.end();
    if (this.pending.size === 0) return;
    const operations = [...this.pending.values()];
    await new Promise<void>((resolve) => (this.onIdle = resolve));
    throw new ValidationError(
      'VALIDATION',
      `The function of the transaction returned before ${operations.join(', ')} had answered: await every call; nothing is committed`,
      { operation: 'transaction', details: { operations } },
    );
  }
}

const running = new AsyncLocalStorage<Attempt>();

/**
 * A handle of the database would wait for the transaction it is used in (one connection), or not see it (several).
 * @throws `VALIDATION` when called inside a running transaction of `pool`.
 */
export function refuseInsideTransaction(pool: Pool, operation: string): void {
  if (running.getStore()?.holds(pool) === true)
    throw new ValidationError('VALIDATION', `${operation}: inside a transaction, use the handle it gives (tx)`, {
      operation,
    });
}

/**
 * Runs `work` in a transaction of `pool` until it commits: again, as a whole, when it lost against another transaction.
 * It rejects only when nothing was committed: what `onCommit` hooks throw goes to `onHookError`, after all have run.
 * @throws `OUTCOME_UNKNOWN`, without running a hook, when the answer to the commit was lost; what `work` throws; `CONFLICT` (retryable) when the retries are used up.
 */
export async function runTransaction<R>(
  database: TransactionDatabase,
  context: OperationContext,
  options: TransactionCallOptions,
  work: (attempt: Attempt) => Promise<R>,
  onHookError: (error: StorageError) => void,
): Promise<R> {
  const retries = options.retries ?? 10;
  if (!Number.isInteger(retries) || retries < 0) throw invalid('retries', options.retries, 'a whole number, 0 or more');
  const isolation = options.isolation ?? 'serializable';
  if (isolation !== 'serializable' && isolation !== 'snapshot')
    throw invalid('isolation', isolation, "'serializable' or 'snapshot'");
  const { clock } = database;
  let conflicts = 0;
  for (;;) {
    const outcome = await runOnce(database, context, isolation, work);
    if (outcome.committed) {
      const errors = await collectErrors(outcome.attempt.committed);
      if (errors.length > 0) onHookError(hookFailure(errors));
      return outcome.result;
    }
    const { attempt, error } = outcome;
    // Whether it is committed nobody knows: to undo outside what may well have happened would be the half that is promised not to be.
    const failed = isStorageError(error, 'OUTCOME_UNKNOWN') ? [] : await compensate(attempt);
    if (failed.length > 0) throw compensationFailure(error, failed);
    if (attempt?.missing !== undefined) {
      await attempt.missing.ensure(context);
    } else if (isSerializationFailure(error) && conflicts < retries && clock.monotonic() < context.deadline) {
      conflicts++;
      await sleep(clock, Math.random() * Math.min(2 ** conflicts, 100), context.signal);
    } else {
      throw error;
    }
  }
}

type Outcome<R> =
  | { readonly committed: true; readonly attempt: Attempt; readonly result: R }
  | { readonly committed: false; readonly attempt: Attempt | undefined; readonly error: unknown };

async function runOnce<R>(
  database: TransactionDatabase,
  context: OperationContext,
  isolation: Isolation,
  work: (attempt: Attempt) => Promise<R>,
): Promise<Outcome<R>> {
  let attempt: Attempt | undefined;
  const enclosing = running.getStore();
  try {
    const result = await database.pool.transaction({ isolation, context }, async (session) => {
      const current = new Attempt(database, session, context, enclosing);
      attempt = current;
      try {
        const value = await running.run(current, () => work(current));
        await current.finish();
        if (current.missing !== undefined) throw current.missing;
        return value;
      } finally {
        current.end();
      }
    });
    return { committed: true, attempt: attempt!, result };
  } catch (error) {
    return { committed: false, attempt, error };
  }
}

function hookFailure(errors: readonly unknown[]): StorageError {
  return new StorageError('INTERNAL', `A transaction is committed, but ${errors.length} of its onCommit hooks failed`, {
    operation: 'onCommit',
    details: { committed: true, hookErrors: errors.length },
    cause: new AggregateError(errors),
  });
}

/** Runs the compensations of a run that was rolled back, the last registered first, each even if another fails. */
function compensate(attempt: Attempt | undefined): Promise<unknown[]> {
  return collectErrors([...(attempt?.rolledBack ?? [])].reverse());
}

function compensationFailure(error: unknown, failures: readonly unknown[]): StorageError {
  const code = isStorageError(error) ? error.code : 'INTERNAL';
  return new StorageError(code, `The transaction rolled back, and ${failures.length} of its onRollback hooks failed`, {
    details: { rollbackErrors: failures.length },
    cause: new AggregateError([error, ...failures]),
  });
}

async function collectErrors(hooks: readonly Hook[]): Promise<unknown[]> {
  const errors: unknown[] = [];
  for (const hook of hooks) {
    try {
      await hook();
    } catch (error) {
      errors.push(error);
    }
  }
  return errors;
}
