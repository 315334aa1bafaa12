/**
 * The words of the library as types. A component is anything with a lifecycle and a health check: a pool, a backend, a
 * provider. A pool owns the connections of one client library; a session is one transaction on one pool; backends keep
 * records and providers keep vectors, both over a pool or a service of their own.
 */
import type { Clock } from './clock.js';
import type { StorageError } from './errors.js';

export type HealthStatus = 'healthy' | 'degraded' | 'unhealthy' | 'unknown';

export interface CheckResult {
  readonly status: HealthStatus;
  /** The cause, in a sentence that may be logged: never a secret. */
  readonly message?: string;
  /** Figures: a pool's size, idle, waiting and max; a server's version. Plain JSON. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Whether nothing but another opening cures it, so that the process is to be restarted. Default: false. */
  readonly final?: boolean;
}

export interface OpenContext {
  readonly clock: Clock;
  /** Aborts when the manager is closed while it opens. */
  readonly signal: AbortSignal;
}

export interface Component {
  /** Unique in a manager: `main`, `vectors:pinecone`. It names the component in errors and in the health report. */
  readonly name: string;
  /** Opens what it owns. When it rejects it has closed whatever it opened; it may be called again. */
  open(context: OpenContext): Promise<void>;
  /** Reports health without waiting for a slot of the pool it checks. */
  check(signal: AbortSignal): Promise<CheckResult>;
  /**
   * Refuses new work, rejects waiters, gives work in flight until `deadline` (of `Clock.monotonic`), then destroys it.
   * Idempotent; it never hangs and never rejects for work it had to cut off.
   */
  close(deadline: number): Promise<void>;
}

/** The names of the methods that every implementation has. */
export type Method<T> = {
  [K in keyof T]-?: T[K] extends (...args: never[]) => unknown ? K : never;
}[keyof T];

/** What an implementation must have; a method may be a field of the instance. */
export interface Members {
  readonly methods: readonly string[];
  readonly parts: readonly string[];
}

/** The first that is missing, in words. What a part is may be known only when its component is open. */
export function missingMember(made: object, { methods, parts }: Members): string | undefined {
  const method = methods.find((name) => typeof (made as Record<string, unknown>)[name] !== 'function');
  if (method !== undefined) return `no method ${method}`;
  const part = parts.find((name) => !(name in made));
  return part === undefined ? undefined : `no ${part}`;
}

/** When to give up. */
export type Bounds = Pick<OperationContext, 'deadline' | 'signal'>;

/** One after another, in the order of the calls. */
export interface Turns {
  /** Whether something runs or waits. */
  readonly isTaken: boolean;
  /** @throws what `work` throws; `TIMEOUT`, `ABORTED` where the wait is longer than its bounds */
  run<R>(bounds: Bounds, work: () => Promise<R>): Promise<R>;
}

/** One transaction on one pool. Opaque: only the pool that made it can use it. */
export interface Session {
  readonly pool: Component;
  /** Of the deadlines of what runs in it. */
  readonly clock: Clock;
  /** Of its statements, and of what runs alone in it. */
  readonly turns: Turns;
  /** Set by the first error that makes a commit impossible; the pool then rolls back and throws it. */
  failure: StorageError | undefined;
}

/** The last argument of every call to a backend or provider. */
export interface OperationContext {
  /** The time of the operation, by the database's clock: decides what has expired, and what is stored. */
  readonly now: Date;
  readonly signal?: AbortSignal | undefined;
  /** When to give up, in the milliseconds of `Clock.monotonic`. */
  readonly deadline: number;
  /** Present when the operation is part of a transaction. */
  readonly session?: Session | undefined;
  /** In a transaction: to be called when a statement of it is about to run. */
  readonly onStatement?: (() => void) | undefined;
  /** In a transaction, where nothing else of it may run meanwhile: the turns of what may. */
  readonly turns?: Turns | undefined;
  /** In a transaction of an SQL database: what it fails by, made of what a statement has failed by. */
  readonly faultOf?: ((fault: StorageError) => StorageError) | undefined;
}

/** What a caller may say about every operation, as its last options. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds; default: the settings' `lifecycle.operationTimeout`. */
  readonly timeout?: number | undefined;
}

/** One operation that was admitted: its context, and the end that must be told. */
export interface Operation {
  readonly context: OperationContext;
  /** Where it runs: a database or a vector provider, by its name in the settings. Absent: nobody is to be told of it. */
  readonly component?: string;
  /** Milliseconds that it has by `lifecycle.operationTimeout`, where its caller gives it none. */
  readonly usualTimeout?: number;
  /** @param failure what it ended with, where it did not succeed. */
  readonly end: (failure?: unknown) => void;
  /** Whether nobody is to hear of its end: the function of the transaction that it is of has ended, and did not await it. */
  readonly isAbandoned?: () => boolean;
}

/** Admits an operation: refuses it when the manager is not open, and gives it its time and its deadline. */
export type BeginOperation = (operation: string, options?: CallOptions) => Operation;

/** Admits a call from its very beginning, whatever it does before, between and after its operations. */
export type DuringCall = <R>(operation: string, work: () => Promise<R>) => Promise<R>;

/** A call of several steps that was admitted as one, until its end is told. */
export interface AdmittedCall {
  /** Does a step of it: what is begun in there belongs to the call, and is not refused while a close waits for that. */
  run<R>(step: () => R): R;
  end(): void;
}

/** Ends what works by itself. @param time milliseconds that what it has under way may still take */
export type StopLoop = (time: number) => Promise<void>;

/**
 * Admits what works by itself, as a worker, until its end is told: a close stops it, waits for that end, and takes what is begun
 * in its `run` meanwhile. @throws `CLOSED`
 */
export type BeginLoop = (stop: StopLoop) => AdmittedCall;

/** Does a call of several steps, which is admitted as one where `admit` is there: outside of transactions. */
export async function runSteps<R>(
  admit: ((operation: string) => AdmittedCall) | undefined,
  operation: string,
  work: () => Promise<R>,
): Promise<R> {
  if (admit === undefined) return work();
  const call = admit(operation);
  try {
    return await call.run(work);
  } finally {
    call.end();
  }
}

/** The same for what gives items, one step each. A consumer that reads no more holds a close up until its deadline. */
export async function* eachStep<T>(
  admit: ((operation: string) => AdmittedCall) | undefined,
  operation: string,
  items: () => AsyncGenerator<T, void, undefined>,
): AsyncGenerator<T, void, undefined> {
  if (admit === undefined) return yield* items();
  const call = admit(operation);
  const source = items();
  try {
    for (;;) {
      const item = await call.run(() => source.next());
      if (item.done === true) return;
      yield item.value;
    }
  } finally {
    await call.run(() => source.return()).finally(() => call.end());
  }
}

/**
 * The bounds of what is waited for outside of the operations themselves: a source or a function of the caller's. It has its
 * own pace: unless the caller gave a `timeout`, or it is in a transaction, no time ends the wait.
 */
export function boundsNow(
  begin: BeginOperation,
  operation: string,
  options?: CallOptions,
): Pick<OperationContext, 'deadline' | 'signal'> {
  const { context, end } = begin(operation, options);
  end();
  const { deadline, signal, session } = context;
  return { signal, deadline: options?.timeout === undefined && session === undefined ? Infinity : deadline };
}

/** Never settles: what awaits it goes on no more, and is collected with it. */
export function unanswered(): Promise<never> {
  return new Promise<never>(() => undefined);
}

/** Milliseconds that a step of a call is given at least: none at all would be no timeout. */
const SHORTEST_STEP = 1;

/** The options of one step of a call, whose `timeout` is what the steps before have left until the call's deadline. */
export function withTimeLeft<O extends CallOptions>(options: O, deadline: number, clock: Clock): O {
  const timeout = Math.max(deadline - clock.monotonic(), SHORTEST_STEP);
  return timeout === Infinity ? options : { ...options, timeout };
}

/** One setting of a component: data, so that a fragment can be read before its component is loaded. */
export interface SettingSpec {
  readonly doc: string;
  /**
   * `timeout`: milliseconds, of which 0 would be too few for anything; `positive`: a whole number, 1 or more; `seconds`: 0
   * or more, of any precision.
   */
  readonly format:
    | 'nat'
    | 'positive'
    | 'int'
    | 'port'
    | 'url'
    | 'number'
    | 'seconds'
    | 'boolean'
    | 'string'
    | 'milliseconds'
    | 'timeout'
    | readonly string[];
  /** `null` means: no value unless one is given. */
  readonly default: unknown;
  /** Masked in every dump, log line and error. */
  readonly sensitive?: boolean;
  /** Environment variables that people already have set, read beside the library's own `STORAGE_...` name. */
  readonly env?: readonly string[];
}

export interface SettingsFragment {
  readonly [key: string]: SettingSpec | SettingsFragment;
}

/** A target the conformance suites run an implementation against. */
export interface TestTarget {
  /** As reported by the runner: `pglite`, `postgres`. */
  readonly name: string;
  /** The variable that brings the target in; absent where the target needs no server. Its value is the URL. */
  readonly variable?: string;
  /** Which setting takes the variable's value. Absent: `url`. */
  readonly setting?: string;
  /** The URL of a target that needs no server. */
  readonly url?: string;
  /** Makes a database for one run on the server at `url`, so that runs do not meet. Absent: the URL is used as it is. */
  readonly prepare?: (url: string) => Promise<PreparedTarget>;
  /** The numbers that the server behind the target orders rightly, by their absolute value; 0 is always one. Absent: all. */
  readonly magnitudes?: Magnitudes;
  /** Whether the server behind the target goes on refusing a unique key that a change took from its record. */
  readonly keepsUniqueKeys?: boolean;
  /** False where the server behind the target has none. */
  readonly transactions?: boolean;
}

export interface Magnitudes {
  readonly least: number;
  readonly most: number;
}

export interface PreparedTarget {
  readonly url: string;
  /** Takes the database away; nothing is connected to it any more. */
  readonly drop: () => Promise<void>;
}
