/** The PGlite that a host gets: it takes its turn, or its statements would run inside somebody's transaction. */
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
  return new Proxy(client, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== 'function') return value;
      if (property === 'close')
        return () =>
          Promise.reject(new ValidationError('VALIDATION', 'The database is closed by its manager', { component }));
      if (!OPERATIONS.has(property)) return value.bind(target) as unknown;
      return async (...parameters: unknown[]): Promise<unknown> => {
        await slot.acquire({ deadline: Infinity });
        try {
          return await (value as (...all: unknown[]) => Promise<unknown>).apply(target, parameters);
        } finally {
          onUsed();
          slot.release();
        }
      };
    },
  });
}
