/** A named entry of the settings, opened: its pool, the backend over it, and which tables are known to be there. */
import type { Clock } from './clock.js';
import type { OperationContext } from './component.js';
import { ValidationError } from './errors.js';
import type { RecordBackend, RecordSchema } from './backends/backend.js';
import type { Pool } from './pools/pool.js';

export class Database {
  private readonly known = new Map<string, RecordSchema>();
  private readonly made = new Set<string>();
  private readonly making = new Map<string, Promise<void>>();

  constructor(
    readonly name: string,
    readonly pool: Pool,
    readonly backend: RecordBackend,
    readonly clock: Clock,
  ) {}

  /** @throws `VALIDATION` when the name stands for another declaration already. */
  declare(schema: RecordSchema): void {
    const other = this.known.get(schema.name);
    if (other === schema) return;
    if (other !== undefined && describe(other) !== describe(schema))
      throw new ValidationError(
        'VALIDATION',
        `The collection ${schema.name} is declared twice, differently, on the database ${this.name}`,
        { details: { collection: schema.name, database: this.name } },
      );
    this.known.set(schema.name, schema);
  }

  has(schemas: readonly RecordSchema[]): boolean {
    return schemas.every(({ name }) => this.made.has(name));
  }

  /** Makes the tables once, however many ask; a failure is not remembered. */
  async make(schemas: readonly RecordSchema[], context: OperationContext): Promise<void> {
    for (const schema of schemas) {
      const { name } = schema;
      if (this.made.has(name)) continue;
      let making = this.making.get(name);
      if (making === undefined) {
        // Not the first caller's signal: the others wait for it too.
        making = this.backend
          .ensure([schema], { now: context.now, deadline: context.deadline })
          .then(() => void this.made.add(name))
          .finally(() => this.making.delete(name));
        this.making.set(name, making);
      }
      await making;
    }
  }
}

function describe({ fields, indexes, unique, text }: RecordSchema): string {
  return JSON.stringify([[...fields].sort(([a], [b]) => (a < b ? -1 : 1)), indexes, unique, text]);
}
