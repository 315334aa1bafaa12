/** The planner's statistics: without them every estimate is one row, and an embedded database has no one to gather them. */
import type { OperationContext } from '../../component.js';
import type { PostgresDialectPool } from '../../pools/pool.js';
import type { VectorSchema } from '../provider.js';
import { tableName } from './table.js';

const FIRST = 1_000;

export class Statistics {
  /** By the names of collections. */
  private readonly known = new Map<string, { readonly table: string; written: number; next: number }>();

  constructor(private readonly pool: PostgresDialectPool) {}

  /** Gathers them when the rows written since the start have doubled, so that loading n rows costs log n of it. */
  async wrote(schema: VectorSchema, rows: number, context: OperationContext): Promise<void> {
    const table = tableName(schema);
    let known = this.known.get(schema.name);
    if (known?.table !== table) this.known.set(schema.name, (known = { table, written: 0, next: FIRST }));
    known.written += rows;
    if (known.written < known.next || context.session !== undefined) return;
    known.next = known.written * 2;
    await this.gather(schema, context);
  }

  /** Of a collection that was deleted: one that is made anew under its name begins with no rows. */
  forget(collection: string): void {
    this.known.delete(collection);
  }

  async gather(schema: VectorSchema, context: OperationContext): Promise<void> {
    // The rows are written: only the plans of searches are worse without it. A build of the index would be waited for, which
    // waits for everyone who waits: then those that it ends with do.
    await this.pool.script(`ANALYZE (SKIP_LOCKED) ${tableName(schema)}`, context).catch(() => undefined);
  }
}
