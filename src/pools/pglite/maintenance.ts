/**
 * What autovacuum does for a server. PGlite has no process beside the statements: without this, the rows that updates and
 * deletes leave behind are never used again, and the planner takes every table for an empty one.
 */
import type { PGlite } from '@electric-sql/pglite';
import type { Slot } from '../slot.js';

/** Changed rows before the first time; it then doubles, so that a young database is known early and at little cost. */
const FIRST = 1_000;
const USUAL = 10_000;
/** Of the rows there are, so that a large database is not gone through for few changes (as autovacuum's scale factor). */
const SCALE = 0.2;

export class Maintenance {
  private changes = 0;
  private next = FIRST;
  private least = FIRST;
  private asked = false;

  constructor(
    private readonly client: PGlite,
    private readonly slot: Slot,
  ) {}

  /** Counts changed rows; when they are enough, the next free moment of the connection is used. */
  changed(rows: number): void {
    this.changes += rows;
    if (this.changes < this.next || this.asked) return;
    this.asked = true;
    setImmediate(() => {
      this.asked = false;
      // A busy connection is tried again at the next change.
      if (this.slot.tryAcquire()) void this.run().finally(() => this.slot.release());
    });
  }

  private async run(): Promise<void> {
    this.changes = 0;
    this.least = Math.min(this.least * 2, USUAL);
    try {
      await this.client.exec('VACUUM (ANALYZE)');
      const { rows } = await this.client.query<{ rows: number }>(
        "SELECT coalesce(sum(reltuples) FILTER (WHERE reltuples > 0), 0)::float8 AS rows FROM pg_class WHERE relkind = 'r'",
      );
      this.next = Math.max(this.least, (rows[0]?.rows ?? 0) * SCALE);
    } catch {
      // Nobody waits for it, and what it would have made better still works.
    }
  }
}
