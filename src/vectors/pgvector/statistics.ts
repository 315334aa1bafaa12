/** What the planner knows of the tables. Without statistics it takes every tenant for one row, and leaves HNSW alone. */
import type { OperationContext } from '../../component.js';
import type { SqlPool } from '../../pools/pool.js';
import { tableName } from './tables.js';

/** Fewer rows are as well compared one by one. */
const FIRST = 1_000;

interface Growth {
  written: number;
  /** How many make the statistics worth reading again. */
  due: number;
}

/**
 * Reads them again whenever this process has written twice as much as the time before: after a load a server's autovacuum
 * comes late, and PGlite has none.
 */
export class Statistics {
  private readonly growths = new Map<string, Growth>();

  constructor(private readonly pool: SqlPool) {}

  /** Counts rows that were written; not inside a transaction, where the rows are nobody's yet. */
  async wrote(collection: string, rows: number, context: OperationContext): Promise<void> {
    const growth = this.growths.get(collection) ?? { written: 0, due: FIRST };
    this.growths.set(collection, growth);
    growth.written += rows;
    if (growth.written < growth.due || context.session !== undefined) return;
    growth.due = growth.written * 2;
    try {
      await this.pool.script(`ANALYZE (SKIP_LOCKED) ${tableName(collection)}`, context);
    } catch {
      // The rows are written: whoever wrote them must not be told otherwise because of slower plans.
    }
  }

  forget(collection: string): void {
    this.growths.delete(collection);
  }
}
