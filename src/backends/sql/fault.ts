/** What the database says in an error, whatever wrapping the pool gave it. */
import { isStorageError } from '../../errors.js';

export interface Violation {
  /** The name of the violated index. */
  readonly index: string | undefined;
}

const SQLSTATE = /^[0-9A-Z]{5}$/;

/** What an error says of a unique index; `undefined` for every other error. */
export function uniqueViolation(error: unknown): Violation | undefined {
  const fault = sqlFault(error);
  if (fault?.state === '23505') return { index: fault.constraint };
  if (!isStorageError(error, 'ALREADY_EXISTS')) return undefined;
  const { constraint } = error.details;
  return { index: typeof constraint === 'string' ? constraint : undefined };
}

interface SqlFault {
  /** SQLSTATE. */
  readonly state: string;
  readonly constraint: string | undefined;
}

export function sqlFault(error: unknown): SqlFault | undefined {
  // A pool keeps the driver's error as the cause; the bound is for causes that refer to each other.
  for (let current = error, depth = 0; depth < 8; depth++) {
    if (typeof current !== 'object' || current === null) return undefined;
    const { code, constraint, cause } = current as { code?: unknown; constraint?: unknown; cause?: unknown };
    if (typeof code === 'string' && SQLSTATE.test(code))
      return { state: code, constraint: typeof constraint === 'string' ? constraint : undefined };
    current = cause;
  }
  return undefined;
}
