/** A named entry of the settings, opened: its pool, the backend over it, and the tables that are there. */
import type { Clock } from './clock.js';
import type { OperationContext } from './component.js';
import type { RecordBackend, RecordSchema } from './backends/backend.js';
import type { Tables } from './database/tables.js';
import type { Pool } from './pools/pool.js';

export class Database {
  constructor(
    readonly name: string,
    readonly pool: Pool,
    readonly backend: RecordBackend,
    readonly clock: Clock,
    private readonly tables: Tables,
  ) {}

  /** @throws `VALIDATION` when the name stands for another declaration already. */
  declare(schema: RecordSchema): void {
    this.tables.declare(schema, this.name);
  }

  /** What the name stands for in this process. */
  declarationOf(name: string): RecordSchema | undefined {
    return this.tables.declarationOf(name);
  }

  /** The same, in which no collection is declared yet. */
  undeclared(): Database {
    return new Database(this.name, this.pool, this.backend, this.clock, this.tables.undeclared());
  }

  has(schemas: readonly RecordSchema[]): boolean {
    return this.tables.has(schemas);
  }

  /** @returns the names of indexes that are no longer declared: dropped, unless it is a dry run. */
  async settle(schema: RecordSchema, dryRun: boolean, context: OperationContext): Promise<string[]> {
    if (!dryRun) await this.tables.make([schema], this.backend, context);
    return (await this.backend.settle?.(schema, dryRun, context)) ?? [];
  }

  make(schemas: readonly RecordSchema[], context: OperationContext): Promise<void> {
    return this.tables.make(schemas, this.backend, context);
  }
}
