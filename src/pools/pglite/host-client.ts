/**
 * The PGlite that a host gets: it takes its turn, or its statements would run inside somebody's transaction. A transaction
 * that it begins by a statement, as query builders do, has the turn until it ends.
 */
import type { PGlite } from '@electric-sql/pglite';
import { ValidationError } from '../../errors.js';
import type { Slot } from '../slot.js';

const OPERATIONS: ReadonlySet<string | symbol> = new Set<keyof PGlite>([
  'query',
  'sql',
  'exec',
  'describeQuery',
  'transaction',
  'runExclusive',
  'dumpDataDir',
]);

/** @param onUsed called after each of its operations: it may have changed anything. */
export function hostClient(client: PGlite, slot: Slot, component: string, onUsed: () => void): PGlite {
  let inTransaction = false;
  let running = 0;
  return new Proxy(client, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== 'function') return value;
      if (property === 'close')
        return () =>
          Promise.reject(new ValidationError('VALIDATION', 'The database is closed by its manager', { component }));
      if (!OPERATIONS.has(property)) return value.bind(target) as unknown;
      return async (...parameters: unknown[]): Promise<unknown> => {
        if (!inTransaction) await slot.acquire({ deadline: Infinity });
        running++;
        try {
          return await (value as (...all: unknown[]) => Promise<unknown>).apply(target, parameters);
        } finally {
          onUsed();
          running--;
          inTransaction = isInTransaction(target);
          // What ran beside the end of the transaction has the turn too.
          if (!inTransaction && running === 0) slot.release();
        }
      };
    },
  });
}

function isInTransaction(client: PGlite): boolean {
  try {
    return !client.closed && client.isInTransaction();
  } catch {
    // The engine has stopped.
    return false;
  }
}
