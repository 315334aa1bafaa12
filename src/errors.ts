import { gotName, typeName } from './type-name.js';

/**
 * The one error class of the library. Errors are told apart by `code`; the subclasses exist for the codes that hosts
 * catch by class. Driver errors are kept as `cause`.
 */
export type ErrorCode =
  | 'CONFIGURATION'
  | 'DEPENDENCY_MISSING'
  | 'UNAUTHORIZED'
  | 'VALIDATION'
  | 'INVALID_FILTER'
  | 'INVALID_CURSOR'
  | 'UNSUPPORTED'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'CONFLICT'
  | 'UNAVAILABLE'
  | 'TIMEOUT'
  | 'STORAGE_FULL'
  | 'ABORTED'
  | 'OUTCOME_UNKNOWN'
  | 'CLOSED'
  | 'MIGRATION'
  // Of the stores.
  | 'INVALID_TRANSITION'
  | 'DEPENDENCY_INCOMPLETE'
  | 'DEPENDENCY_CYCLE'
  | 'QUOTA_EXCEEDED'
  | 'NOT_A_NUMBER'
  | 'LEASE_LOST'
  | 'INTERNAL';

export interface StorageErrorOptions {
  /** Which component raised it: `collection:orders`, `database:main`, `vectors:pgvector`. */
  component?: string | undefined;
  /** The operation the caller asked for: `save`, `search`, `open`. */
  operation?: string | undefined;
  /** Plain data for programs: the violated constraint, the faults of the settings. Never a secret. */
  details?: Readonly<Record<string, unknown>> | undefined;
  cause?: unknown;
  /** Whether the cause is to be shown as it is: the host's own function threw it. Default: false. */
  isHostCause?: boolean | undefined;
  /** Whether the same call may succeed later. Default: by code (`UNAVAILABLE` and `TIMEOUT` are, the others are not). */
  retryable?: boolean | undefined;
}

// In the global symbol registry, so that two installed copies of the library recognise each other's errors.
const MARKER = Symbol.for('quartermaster.StorageError');
const INSPECT = Symbol.for('nodejs.util.inspect.custom');

export class StorageError extends Error {
  readonly code: ErrorCode;
  readonly component: string | undefined;
  readonly operation: string | undefined;
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: StorageErrorOptions = {}) {
    super(message);
    if (options.cause !== undefined) keepCause(this, options.cause, options.isHostCause);
    this.code = code;
    this.component = options.component;
    this.operation = options.operation;
    this.retryable = options.retryable ?? (code === 'UNAVAILABLE' || code === 'TIMEOUT');
    this.details = options.details ?? {};
    Object.defineProperty(this, MARKER, { value: true });
  }

  override get name(): string {
    return this.constructor.name;
  }

  /** What a log line carries: no stack, no cause (a driver's error may hold its connection string). */
  toJSON(): Record<string, unknown> {
    const { name, code, message, component, operation, retryable, details } = this;
    return { name, code, message, component, operation, retryable, details };
  }

  /** What the console shows: the stack, and of a cause that is not ours its code or name only. `cause` has all of it. */
  [INSPECT](_depth: number, options: object, inspect: (value: unknown, options: object) => string): string {
    const { stack, name, message, code, component, operation, retryable, details, cause } = this;
    const isHidden = Object.getOwnPropertyDescriptor(this, 'cause')?.get !== undefined;
    const fields = {
      code,
      ...(component === undefined ? {} : { component }),
      ...(operation === undefined ? {} : { operation }),
      retryable,
      ...(Object.keys(details).length === 0 ? {} : { details }),
      ...(cause === undefined ? {} : { cause: isHidden ? shownCause(cause) : cause }),
    };
    return `${stack ?? `${name}: ${message}`} ${inspect(fields, options)}`;
  }
}

/** A foreign cause is behind a getter: what Node prints of an error that nobody caught shows values, and no getter. */
function keepCause(error: Error, cause: unknown, isHostCause = false): void {
  const hidden = isHostCause || isStorageError(cause) ? { value: cause, writable: true } : { get: () => cause };
  Object.defineProperty(error, 'cause', { ...hidden, configurable: true, enumerable: false });
}

function shownCause(cause: unknown): unknown {
  if (isStorageError(cause)) return cause;
  if (!(cause instanceof AggregateError)) return foreignErrorName(cause);
  return cause.errors.map((error: unknown) => (isStorageError(error) ? error : foreignErrorName(error)));
}

/** `NOT_FOUND`: the record is not there, has expired, or is another tenant's. */
export class NotFoundError extends StorageError {
  declare readonly code: 'NOT_FOUND';

  constructor(message: string, options?: StorageErrorOptions) {
    super('NOT_FOUND', message, options);
  }
}

/** `CONFLICT` (another version, a serialization failure) or `ALREADY_EXISTS` (an id or a unique constraint). */
export class ConflictError extends StorageError {
  declare readonly code: 'CONFLICT' | 'ALREADY_EXISTS';

  constructor(code: 'CONFLICT' | 'ALREADY_EXISTS', message: string, options?: StorageErrorOptions) {
    super(code, message, options);
  }
}

/** `VALIDATION`, `INVALID_FILTER`, `INVALID_CURSOR`: bad input, refused before any I/O. */
export class ValidationError extends StorageError {
  declare readonly code: 'VALIDATION' | 'INVALID_FILTER' | 'INVALID_CURSOR';

  constructor(
    code: 'VALIDATION' | 'INVALID_FILTER' | 'INVALID_CURSOR',
    message: string,
    options?: StorageErrorOptions,
  ) {
    super(code, message, options);
  }
}

/** `TIMEOUT`: the operation's deadline passed. */
export class TimeoutError extends StorageError {
  declare readonly code: 'TIMEOUT';

  constructor(message: string, options?: StorageErrorOptions) {
    super('TIMEOUT', message, options);
  }
}

/** `UNAVAILABLE`: the server cannot be reached, the pool is exhausted, the service is overloaded. */
export class UnavailableError extends StorageError {
  declare readonly code: 'UNAVAILABLE';

  constructor(message: string, options?: StorageErrorOptions) {
    super('UNAVAILABLE', message, options);
  }
}

/** `UNSUPPORTED`: the backend or provider cannot do it; refused before any I/O. */
export class UnsupportedError extends StorageError {
  declare readonly code: 'UNSUPPORTED';

  constructor(message: string, options?: StorageErrorOptions) {
    super('UNSUPPORTED', message, options);
  }
}

/** `error` in other words: of its class, with all that it says but for `more`, and itself as the cause. */
export function reworded(error: StorageError, message: string, more: StorageErrorOptions = {}): StorageError {
  const { code, component, operation, retryable, details } = error;
  const options = { component, operation, retryable, details, cause: error, ...more };
  switch (code) {
    case 'NOT_FOUND':
      return new NotFoundError(message, options);
    case 'CONFLICT':
    case 'ALREADY_EXISTS':
      return new ConflictError(code, message, options);
    case 'TIMEOUT':
      return new TimeoutError(message, options);
    case 'UNAVAILABLE':
      return new UnavailableError(message, options);
    case 'UNSUPPORTED':
      return new UnsupportedError(message, options);
    default:
      return new StorageError(code, message, options);
  }
}

/** Whether `error` is a StorageError (of any installed copy of the library), optionally one with this code. */
export function isStorageError(error: unknown): error is StorageError;
export function isStorageError<C extends ErrorCode>(
  error: unknown,
  code: C,
): error is StorageError & { readonly code: C };
export function isStorageError(error: unknown, code?: ErrorCode): boolean {
  return (
    typeof error === 'object' &&
    error !== null &&
    (error as Record<symbol, unknown>)[MARKER] === true &&
    (code === undefined || (error as StorageError).code === code)
  );
}

/**
 * What a pool throws when a serializable transaction lost against another one. The unit of work runs the whole
 * function again on it; outside a unit of work it reaches the caller as a retryable `CONFLICT`.
 */
export function serializationFailure(component: string, cause?: unknown): ConflictError {
  return new ConflictError('CONFLICT', 'The transaction conflicts with another one that committed first', {
    component,
    retryable: true,
    details: { reason: 'serialization' },
    cause,
  });
}

export function isSerializationFailure(error: unknown): boolean {
  return isStorageError(error, 'CONFLICT') && error.details['reason'] === 'serialization';
}

/**
 * Whether a host's handler says that to try again is of no use: it threw an error with `retryable: false`. An error of this
 * library does not say so: what a `NOT_FOUND` means for the handler's work, only the handler knows.
 */
export function isPermanent(error: unknown): boolean {
  if (typeof error !== 'object' || error === null || isStorageError(error)) return false;
  return (error as { retryable?: unknown }).retryable === false;
}

/**
 * What may be shown of an error that may not be ours: its code, else its name. Never its message: a driver's message may hold
 * a connection string.
 */
export function foreignErrorName(error: unknown): string {
  if (typeof error !== 'object' || error === null) return typeName(error);
  const { code, name } = error as { code?: unknown; name?: unknown };
  const shown = [code, name].find((text) => typeof text === 'string' && /^[a-z0-9_]{1,48}$/i.test(text));
  return typeof shown === 'string' ? shown : typeName(error);
}

/** Of what a handler of the host's threw, its own words: they are the host's, as is the database that keeps them. As can be stored. */
export function thrownText(error: unknown): string {
  const name = foreignErrorName(error);
  const message: unknown = error instanceof Error ? error.message : error;
  if (typeof message !== 'string') return name;
  return message.trim() === '' ? 'failed' : message.slice(0, 1_000).toWellFormed().replaceAll('\0', '\ufffd');
}

const CONTROL = 'control-statement';

/** A statement began or ended a transaction; what one that it ended had done may have been committed. */
export function controlStatementError(component: string, operation: string, cause?: unknown): ValidationError {
  return new ValidationError('VALIDATION', 'Transactions are begun and ended by transaction(), not by a statement', {
    component,
    operation,
    details: { reason: CONTROL },
    cause,
  });
}

export function isControlStatementError(error: unknown): boolean {
  return isStorageError(error, 'VALIDATION') && error.details['reason'] === CONTROL;
}

/** `VALIDATION` for a key that there is not: it is the key that is wrong, whatever its value. */
export function unknownKey(key: string, known: Iterable<string>, options?: StorageErrorOptions): ValidationError {
  const [expected, actual] = [`one of ${[...known].join(', ')}`, 'an unknown key'];
  return new ValidationError('VALIDATION', `${key}: expected ${expected}, got ${actual}`, {
    ...options,
    details: { key, expected, actual, ...options?.details },
  });
}

/** @throws `VALIDATION` for what is no object, or has another key. */
export function checkKnown(options: unknown, known: ReadonlySet<string>, at = 'options'): void {
  if (options === undefined) return;
  if (typeof options !== 'object' || options === null)
    throw invalid(at, options, `an object of ${[...known].join(', ')}`);
  for (const key in options) if (!known.has(key)) throw unknownKey(`${at}.${key}`, known);
}

/**
 * `VALIDATION` in the library's one form: the key, the value's type, what was expected; of a number where some number was, the
 * number.
 */
export function invalid(key: string, value: unknown, expected: string, options?: StorageErrorOptions): ValidationError {
  const actual = gotName(value, expected);
  return new ValidationError('VALIDATION', `${key}: expected ${expected}, got ${actual}`, {
    ...options,
    details: { key, expected, actual, ...options?.details },
  });
}
