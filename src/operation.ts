/** Running one admitted operation, and what those who measure are told of it. */
import { channel } from 'node:diagnostics_channel';
import { unanswered, type BeginOperation, type CallOptions, type OperationContext } from './component.js';
import { isStorageError, reworded, type ErrorCode, type StorageError } from './errors.js';

/** What the channel `quartermaster:operation` publishes when an operation has ended. No ids, values or filters. */
export interface OperationMessage {
  /** As in errors: `get`, `kv.set`, `search`, `transaction`. */
  readonly operation: string;
  /** The database or vector provider, by its name in the settings. */
  readonly component: string;
  /** The collection, where it is of one. */
  readonly collection?: string;
  /** Whether it was a part of a transaction. */
  readonly inTransaction: boolean;
  /** From its call to its end. */
  readonly milliseconds: number;
  /** What it threw. Absent: it succeeded. */
  readonly error?: unknown;
}

interface Subject {
  readonly operation: string;
  readonly component: string;
  readonly collection: string | undefined;
}

const OF_POOLS: ReadonlySet<ErrorCode> = new Set(['TIMEOUT', 'UNAVAILABLE']);
/** What pools call their own. */
const UNLOCATED: ReadonlySet<string | undefined> = new Set([undefined, 'query', 'script', 'copyIn']);

const OPERATIONS = channel('quartermaster:operation');

/** Admits an operation, runs it, and tells its end. What `work` throws at once rejects too. */
export async function runAdmitted<R>(
  begin: BeginOperation,
  name: string,
  options: CallOptions | undefined,
  work: (context: OperationContext) => Promise<R>,
  collection?: string,
): Promise<R> {
  const operation = begin(name, options);
  const { context, component } = operation;
  let failure: unknown;
  try {
    if (component !== undefined && OPERATIONS.hasSubscribers)
      return await runMeasured(context, { operation: name, component, collection }, work);
    return await work(context);
  } catch (error) {
    failure = located(error, name, collection, options?.timeout, operation.usualTimeout);
    // The transaction fails by it under the same name.
    const { session } = context;
    if (session !== undefined && session.failure === error) session.failure = failure as StorageError;
    throw failure;
  } finally {
    operation.end(failure);
    if (operation.isAbandoned?.() === true) await unanswered();
  }
}

/**
 * Of what ended in time or place, a pool knows neither the operation nor its caller: made here, the stack leads to both. What
 * a function of the host throws has no component, and is the host's.
 */
function located(
  error: unknown,
  operation: string,
  collection?: string,
  ownTimeout?: number,
  usualTimeout?: number,
): unknown {
  if (!isStorageError(error) || !UNLOCATED.has(error.operation) || !OF_POOLS.has(error.code)) return error;
  if (error.component === undefined) return error;
  const timeout = error.code === 'TIMEOUT' ? (ownTimeout ?? usualTimeout) : undefined;
  const setting = ownTimeout === undefined ? ' by lifecycle.operationTimeout' : '';
  const of = collection === undefined ? '' : ` of ${collection}`;
  // The third of a lease, say, is no whole number.
  const limit = timeout !== undefined && timeout > 1 ? Math.round(timeout) : timeout;
  const given = limit === undefined ? '' : ` (${limit} ms${setting})`;
  const details = {
    ...error.details,
    ...(collection && { collection }),
    ...(limit !== undefined && { timeout: limit }),
  };
  return reworded(error, `${operation}${of}${given}: ${error.message}`, { operation, details });
}

async function runMeasured<R>(
  context: OperationContext,
  { operation, component, collection }: Subject,
  work: (context: OperationContext) => Promise<R>,
): Promise<R> {
  const begun = performance.now();
  let failure: { readonly error?: unknown } = {};
  try {
    return await work(context);
  } catch (error) {
    failure = { error };
    throw error;
  } finally {
    const message: OperationMessage = {
      operation,
      component,
      ...(collection === undefined ? {} : { collection }),
      inTransaction: context.session !== undefined,
      milliseconds: performance.now() - begun,
      ...failure,
    };
    OPERATIONS.publish(message);
  }
}
