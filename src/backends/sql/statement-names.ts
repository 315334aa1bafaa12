/** Names for the texts that come again, under which a server keeps their plans. */
import type { QueryOptions, SqlPool } from '../../pools/pool.js';

/** Texts beyond these are run without a name: each is kept on every connection. */
const MOST = 200;

class StatementNames {
  /** `undefined`: seen once. */
  private count = 0;
  private readonly known = new Map<string, QueryOptions | undefined>();

  of(text: string): QueryOptions | undefined {
    const options = this.known.get(text);
    if (options !== undefined) return options;
    if (this.known.has(text)) {
      const named = { name: `many ${++this.count}` };
      this.known.set(text, named);
      return named;
    }
    if (this.known.size < MOST) this.known.set(text, undefined);
    return undefined;
  }
}

const NAMES = new WeakMap<SqlPool, StatementNames>();

/** From its second time on a text has a name: one that comes once is not worth a plan. */
export function namedStatement(pool: SqlPool, text: string): QueryOptions | undefined {
  let names = NAMES.get(pool);
  if (names === undefined) NAMES.set(pool, (names = new StatementNames()));
  return names.of(text);
}
