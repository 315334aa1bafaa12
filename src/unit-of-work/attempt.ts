/** One run of a transaction's function: which operations it may have, and what follows its end. */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { RecordBackend } from '../backends/backend.js';
import { EARLY, type Clock } from '../clock.js';
import {
  unanswered,
  type BeginOperation,
  type CallOptions,
  type DuringCall,
  type OperationContext,
  type Session,
} from '../component.js';
import { isStorageError, StorageError, ValidationError } from '../errors.js';
import type { Isolation, Pool } from '../pools/pool.js';
import type { Hook } from './hooks.js';

/** The database that a transaction runs on. */
export interface TransactionDatabase {
  readonly name: string;
  readonly backend: Pick<RecordBackend, 'capabilities'>;
  readonly pool: Pool;
  readonly clock: Clock;
}

/**
 * Asks for tables that are not there yet: the transaction rolls back, makes them, and runs the function again. The function
 * meets it as any error of a storage; whatever it makes of it, this run is over.
 */
export class TablesMissing extends StorageError {
  constructor(readonly ensure: (context: OperationContext) => Promise<void>) {
    const message =
      'The tables of a collection are not there yet: this run of the transaction is rolled back, and its function run again once they are. Whoever catches this has nothing to do; where it is an unhandled rejection, a call of the transaction was not awaited';
    super('UNAVAILABLE', message, { operation: 'transaction', details: { reason: 'tables' } });
  }
}

/** Milliseconds after which a call fails that found tables missing where another had before it. */
const LATER = 100;

export type Bounded = <R>(work: Promise<R>) => Promise<R>;

/** One run of a transaction's function, or of the function of a transaction within it: its part, which can be undone by itself. */
export class Attempt {
  readonly committed: Hook[] = [];
  readonly rolledBack: Hook[] = [];
  /** The part that runs now. */
  private inner: Attempt | undefined;
  private lacking: TablesMissing | undefined;
  private ended = false;
  private givenUp = false;
  /** Whether its function has returned or thrown; one that was cut may still be at work. */
  private hasLeft = false;
  /** Whether its function returned before all of its calls had answered. */
  private isForsaken = false;
  /** Whether its function has returned, so that what fails from then on is the commit. */
  isToCommit = false;
  /** Operations that have not answered yet. */
  private readonly pending = new Map<OperationContext, string>();
  /** Calls that have not answered yet, and may be between two operations. */
  private readonly calls = new Set<{ readonly operation: string }>();
  private onIdle: (() => void)[] = [];

  constructor(
    readonly on: TransactionDatabase,
    readonly isolation: Isolation,
    readonly session: Session,
    private readonly bounds: OperationContext,
    /** The attempt whose function began this one: on another pool, or as its part. */
    private readonly enclosing: Attempt | undefined,
    private readonly whole?: Attempt,
    /** Ends the wait for what a part does at the bounds of its own and of the parts around it; those of the whole are the pool's. */
    readonly bounded: Bounded = (work) => work,
  ) {}

  get pool(): Pool {
    return this.on.pool;
  }

  get database(): string {
    return this.on.name;
  }

  get active(): boolean {
    return !this.ended && this.whole?.active !== false;
  }

  /** Whether hooks that are registered now will be asked for. */
  get takesHooks(): boolean {
    return this.active && !this.givenUp && this.whole?.takesHooks !== false;
  }

  /** Set by the first use of a collection whose tables are missing, whatever the function makes of the error. */
  get missing(): TablesMissing | undefined {
    return this.whole === undefined ? this.lacking : this.whole.missing;
  }

  /** What has not answered yet. */
  get operations(): string[] {
    return [...new Set([...[...this.calls].map(({ operation }) => operation), ...this.pending.values()])];
  }

  end(): void {
    this.ended = true;
  }

  /**
   * The transaction is rolled back, while its function may still wait for something: what that asks to be run at a rollback
   * would never be. It is still inside of the transaction, whose outer handles stay refused.
   */
  giveUp(): void {
    this.givenUp = true;
  }

  /** Whether this or a transaction around it runs on `pool`. */
  holds(pool: Pool): boolean {
    return (this.active && this.pool === pool) || this.enclosing?.holds(pool) === true;
  }

  /**
   * Ends this run at a call that finds tables missing. The first such call fails at once, each later one a while after: of
   * several that were begun together, the function meets the first.
   * @param context of the call
   */
  failMissing(ensure: (context: OperationContext) => Promise<void>, context: OperationContext): Promise<never> {
    const isFirst = this.missing === undefined;
    const missing = this.markMissing(ensure);
    return new Promise((_resolve, reject) => {
      const fail = (): void => {
        if (this.isAbandoned()) this.answered(context);
        else reject(missing);
      };
      if (isFirst) setImmediate(fail);
      else this.on.clock.after(LATER, fail);
    });
  }

  /** Marks this run as one that is over, and to be run again once the tables are made. @returns what is to be thrown */
  markMissing(ensure: (context: OperationContext) => Promise<void>): TablesMissing {
    return this.whole?.markMissing(ensure) ?? (this.lacking ??= new TablesMissing(ensure));
  }

  /**
   * Whether its function has left its calls. What has not answered by then never does: nobody awaits it, an error that nobody
   * awaits ends the process, and what would follow an answer comes too late.
   */
  readonly isAbandoned = (): boolean => this.hasLeft;

  /** Admits an operation of the transaction. @throws `CLOSED` after its end. */
  readonly begin: BeginOperation = (operation, options) => {
    let hasRun = false;
    const context = this.admitted(operation, options, () => void (hasRun = true));
    const end = (failure?: unknown): void => {
      // What it did so far may be a half, which nobody is to commit.
      if (hasRun && isCut(failure) && this.isOver(context)) this.session.failure ??= failure;
      this.answered(context);
    };
    this.pending.set(context, operation);
    return { context, component: this.on.name, end, isAbandoned: this.isAbandoned };
  };

  private answered(context: OperationContext): void {
    this.pending.delete(context);
    if (this.pending.size === 0) for (const tell of this.onIdle.splice(0)) tell();
  }

  /** Whether its own time or signal has ended an operation: its function may throw such an error of somebody else. */
  private isOver({ deadline, signal }: OperationContext): boolean {
    return signal?.aborted === true || this.on.clock.monotonic() >= deadline - EARLY;
  }

  /** @throws as `begin` */
  readonly during: DuringCall = async (operation, work) => {
    this.admitted(operation);
    const call = { operation };
    this.calls.add(call);
    try {
      return await work();
    } finally {
      this.calls.delete(call);
      if (this.isAbandoned()) await unanswered();
    }
  };

  /** For what the transaction's own function awaits: nothing counts it. @throws as `begin`; `missing` */
  context(operation: string, options?: CallOptions): OperationContext {
    const context = this.admitted(operation, options);
    if (this.missing !== undefined) throw this.missing;
    return context;
  }

  private admitted(operation: string, options?: CallOptions, onStatement?: () => void): OperationContext {
    if (!this.active) {
      const unawaited = this.isForsaken ? ': its function returned before all of its calls had answered' : '';
      const message = `The transaction has ended; its handles cannot be used any more${unawaited}`;
      throw new StorageError('CLOSED', message, { operation });
    }
    if (this.inner !== undefined)
      throw new ValidationError(
        'VALIDATION',
        `${operation}: inside a transaction within this one, use the handle that it gives (the inner tx)`,
        { operation },
      );
    const deadline = Math.min(this.bounds.deadline, this.on.clock.monotonic() + (options?.timeout ?? Infinity));
    const signal = options?.signal ?? this.bounds.signal;
    return { now: this.on.clock.now(), deadline, signal, session: this.session, onStatement };
  }

  /** Begins a part, which must be closed; until then this attempt's own handles are refused. */
  openPart(context: OperationContext, bounded: Bounded): Attempt {
    return (this.inner = new Attempt(this.on, this.isolation, this.session, context, this, this, bounded));
  }

  closePart(): void {
    this.inner = undefined;
  }

  /** The compensations of this and of the part that runs, the last registered first; no other call gets them again. */
  takeCompensations(): Hook[] {
    return [...(this.inner?.takeCompensations() ?? []), ...this.rolledBack.splice(0).reverse()];
  }

  /** Runs the function, and ends. @throws what it throws; as `finish`; `missing` */
  async run<R>(work: (attempt: Attempt) => Promise<R>): Promise<R> {
    try {
      const value = await this.call(work);
      await this.finish();
      this.isToCommit = true;
      return value;
    } finally {
      this.end();
    }
  }

  private async call<R>(work: (attempt: Attempt) => Promise<R>): Promise<R> {
    try {
      return await running.run(this, () => work(this));
    } finally {
      this.hasLeft = true;
    }
  }

  /** Ends, and waits until the operations that were begun have answered; a call that is between two begins none any more. */
  async settle(): Promise<void> {
    this.end();
    if (this.pending.size > 0) await new Promise<void>((resolve) => this.onIdle.push(resolve));
  }

  /**
   * Ends the run: no operation is begun any more. A function that has returned while one of it was under way did not await
   * it, and cannot know what became of it: once that has answered, this run is over. @throws `VALIDATION`; `missing`
   */
  async finish(): Promise<void> {
    const { operations } = this;
    this.isForsaken = operations.length > 0;
    await this.settle();
    if (this.missing !== undefined) throw this.missing;
    if (operations.length === 0) return;
    throw new ValidationError(
      'VALIDATION',
      `The function of the transaction returned before ${operations.join(', ')} had answered: await every call; nothing is committed`,
      { operation: 'transaction', details: { operations } },
    );
  }
}

function isCut(failure: unknown): failure is StorageError {
  return isStorageError(failure, 'TIMEOUT') || isStorageError(failure, 'ABORTED');
}

const running = new AsyncLocalStorage<Attempt>();

/** The attempt whose function this is called in. */
export function runningAttempt(): Attempt | undefined {
  return running.getStore();
}

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
