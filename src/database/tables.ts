/** The tables of one pool: what each name stands for, and which are known to be there. Databases of one URL share them. */
import { within, type Clock } from '../clock.js';
import type { OperationContext } from '../component.js';
import { isStorageError, type StorageError, ValidationError } from '../errors.js';
import type { RecordBackend, RecordSchema } from '../backends/backend.js';

/** How long a refused declaration is not tried again, in milliseconds: the check may read every record. */
const REFUSED = 5_000;
const MAKING = 'The deadline passed while the tables of the collection were made';

export interface TableLimits {
  /** Milliseconds that the making of one collection's tables may take, whoever waits for it. */
  readonly operationTimeout: number;
  /** The same for a change that takes as long as there are records. */
  readonly schemaTimeout: number;
}

type Prepare = (backend: RecordBackend, context: OperationContext) => Promise<void>;

export class Tables {
  private readonly declared = new Map<string, RecordSchema>();
  private readonly there = new Map<string, RecordSchema>();
  private readonly making = new Map<string, Promise<void>>();
  private readonly refused = new Map<string, { readonly error: StorageError; readonly until: number }>();
  private prepared: Promise<void> | undefined;
  private refusal: StorageError | undefined;

  /** @param prepare done once before the first tables are made. @param tell told of each that is there by now */
  constructor(
    private readonly clock: Clock,
    private readonly limits: TableLimits,
    private readonly prepare: Prepare = () => Promise.resolve(),
    private readonly tell: (schema: RecordSchema) => void = () => undefined,
  ) {}

  /** The same, in which no name stands for a declaration yet; what is known to be there is known to both. */
  undeclared(): Tables {
    const tables = new Tables(this.clock, this.limits, this.prepare, (schema) => this.noteThere(schema));
    for (const [name, schema] of this.there) tables.there.set(name, schema);
    return tables;
  }

  /** @throws `VALIDATION` when the name stands for another declaration already. */
  declare(schema: RecordSchema, database: string): void {
    const other = this.declared.get(schema.name);
    if (other === schema) return;
    const differing = other === undefined ? [] : differences(other, schema);
    if (differing.length > 0)
      throw new ValidationError(
        'VALIDATION',
        `The collection ${schema.name} is declared twice, with other ${differing.join(', ')}, on the database ${database}; its type and its schema may differ, the rest may not`,
        { details: { collection: schema.name, database, differing } },
      );
    this.declared.set(schema.name, schema);
    // Made by a declaration of another process's, which is not this one's to go by any more.
    const made = this.there.get(schema.name);
    if (made !== undefined && differences(made, schema).length > 0) this.there.delete(schema.name);
  }

  /** What the name stands for in this process. */
  declarationOf(name: string): RecordSchema | undefined {
    return this.declared.get(name);
  }

  has(schemas: readonly RecordSchema[]): boolean {
    return schemas.every(({ name }) => this.there.has(name));
  }

  /** Those that are known to be there. */
  made(): RecordSchema[] {
    return [...this.there.values()];
  }

  /**
   * Makes the tables once, however many ask; a failure is not remembered, but for seconds where records do not fit. Each
   * caller waits within its own deadline and signal, which do not end the making: others wait for it too.
   */
  async make(schemas: readonly RecordSchema[], backend: RecordBackend, context: OperationContext): Promise<void> {
    for (const schema of schemas)
      if (!this.there.has(schema.name))
        do await within(this.start(schema, backend), context, this.clock, MAKING);
        while (
          // Another declaration of the name was on its way: this process's own comes after it.
          !this.there.has(schema.name) &&
          this.isDeclared(schema)
        );
  }

  /** Why no table of the database can be used at all, where a first use met that; asked anew, for it may have been mended. */
  async refusalOfAll(backend: RecordBackend, context: OperationContext): Promise<StorageError | undefined> {
    if (this.refusal === undefined) return undefined;
    await this.prepareOnce(backend, context).catch(() => undefined);
    return this.refusal;
  }

  private prepareOnce(backend: RecordBackend, context: OperationContext): Promise<void> {
    return (this.prepared ??= this.prepare(backend, context).then(
      () => (this.refusal = undefined),
      (error: unknown) => {
        this.prepared = undefined;
        if (isStorageError(error, 'MIGRATION')) this.refusal = error;
        throw error;
      },
    ));
  }

  /** Whether the name stands for it in this process, or for nothing yet. */
  private isDeclared(schema: RecordSchema): boolean {
    const declared = this.declared.get(schema.name);
    return declared === undefined || declared === schema || differences(declared, schema).length === 0;
  }

  private noteThere(schema: RecordSchema): void {
    if (this.isDeclared(schema)) this.there.set(schema.name, schema);
    this.tell(schema);
  }

  private start(schema: RecordSchema, backend: RecordBackend): Promise<void> {
    const { name } = schema;
    const known = this.making.get(name);
    if (known !== undefined) return known;
    const { clock, limits, refused } = this;
    const began = clock.monotonic();
    const refusal = refused.get(name);
    if (refusal !== undefined && began < refusal.until) return Promise.reject(refusal.error);
    const context = { now: clock.now(), deadline: began + limits.operationTimeout };
    const making = this.prepareOnce(backend, context)
      .then(() => backend.ensure([schema], context, began + limits.schemaTimeout))
      .then(() => this.noteThere(schema))
      .catch((error: unknown) => {
        if (isStorageError(error, 'MIGRATION') && this.isDeclared(schema))
          refused.set(name, { error, until: clock.monotonic() + REFUSED });
        throw error;
      })
      .finally(() => this.making.delete(name));
    this.making.set(name, making);
    return making;
  }
}

/** The parts of two declarations that are not the same, by the names that `defineCollection` has for them. */
function differences(one: RecordSchema, other: RecordSchema): string[] {
  const [parts, others] = [describe(one), describe(other)];
  return Object.keys(parts).filter((part) => parts[part] !== others[part]);
}

function describe({ fields, indexes, unique, text, numbered }: RecordSchema): Readonly<Record<string, string>> {
  return {
    fields: JSON.stringify([...fields].sort(([a], [b]) => (a < b ? -1 : 1))),
    indexes: JSON.stringify(indexes),
    unique: JSON.stringify(unique),
    text: JSON.stringify(text),
    id: String(numbered),
  };
}
