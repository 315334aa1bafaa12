/** Names for the texts that come again, under which a server keeps their plans. */
import type { QueryOptions, SqlPool } from '../../pools/pool.js';

/** Texts beyond these are run without a name: each is kept on every connection. */
const MOST = 200;

/** Each kind has its own room: texts of one kind that all differ take no name from another. */
export type StatementKind = 'many' | 'patch' | 'batch';

class StatementNames {
  private count = 0;
  /** `undefined`: seen once. */
  private readonly known = new Map<string, QueryOptions | undefined>();

  constructor(private readonly kind: StatementKind) {}

  of(text: string): QueryOptions | undefined {
    const options = this.known.get(text);
    if (options !== undefined) return options;
    if (this.known.has(text)) {
      const named = { name: `${this.kind} ${++this.count}` };
      this.known.set(text, named);
      return named;
    }
    if (this.known.size < MOST) this.known.set(text, undefined);
    return undefined;
  }
}

type NamesByKind = Readonly<Record<StatementKind, StatementNames>>;
const NAMES = new WeakMap<SqlPool, NamesByKind>();

/** From its second time on a text has a name: one that comes once is not worth a plan. */
export function namedStatement(pool: SqlPool, text: string, kind: StatementKind = 'many'): QueryOptions | undefined {
  let names = NAMES.get(pool);
  if (names === undefined) {
    names = {
      many: new StatementNames('many'),
      patch: new StatementNames('patch'),
      batch: new StatementNames('batch'),
    };
    NAMES.set(pool, names);
  }
  return names[kind].of(text);
}
