/** What the server says in an error, whatever wrapping the pool gave it. */
export interface SqlFault {
  /** SQLSTATE. */
  readonly state: string;
  /** The name of the violated index. */
  readonly constraint: string | undefined;
}

const SQLSTATE = /^[0-9A-Z]{5}$/;

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
