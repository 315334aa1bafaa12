/** Names for the texts that come again, under which a server keeps their plans. */
import type { QueryOptions, SqlPool } from '../../pools/pool.js';

/** Texts beyond these are run without a name: each is kept on every connection. */
const MOST = 200;
/** Two generations of this many are remembered for having been seen once. */
const GENERATION = 200;
/** In characters. Those above are large batches, of which hardly two are alike. */
const LONGEST = 16_384;

/** Each kind has its own room: texts of one kind that all differ take no name from another. */
export type StatementKind = 'many' | 'patch' | 'batch';

class StatementNames {
  private readonly named = new Map<string, QueryOptions>();
  private recent = new Set<string>();
  private older = new Set<string>();

  constructor(private readonly kind: StatementKind) {}

  of(text: string): QueryOptions | undefined {
    const { named, recent } = this;
    const options = named.get(text);
    if (options !== undefined) return options;
    if (named.size >= MOST || text.length > LONGEST) return undefined;
    if (!recent.has(text) && !this.older.has(text)) {
      this.remember(text);
      return undefined;
    }
    const added = { name: `${this.kind} ${named.size + 1}` };
    named.set(text, added);
    // What was seen once is asked for no more.
    if (named.size >= MOST) this.recent = this.older = new Set();
    return added;
  }

  private remember(text: string): void {
    if (this.recent.size >= GENERATION) {
      this.older = this.recent;
      this.recent = new Set();
    }
    this.recent.add(text);
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
