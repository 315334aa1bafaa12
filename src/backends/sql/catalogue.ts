/** What is there of the tables of collections, and the notes of what their records fit. */
import type { OperationContext } from '../../component.js';
import type { RecordSchema } from '../backend.js';
import { declarationChange, type DeclarationChange, type DeclarationNote } from '../declaration.js';
import type { Database } from './dialect.js';
import { tablePlan, type IndexPlan, type TablePlan } from './table-plan.js';

/** A change under way: whose it is, and when there was the last sign of it. */
export interface Work {
  readonly by: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Words are made up to this record; `form` names which words. */
  readonly words?: { readonly form: string; readonly after: readonly [tenant: string, id: string] };
}

export interface Note extends DeclarationNote {
  readonly work?: Work;
}

/** A table that is not as its collection declares it. */
export interface TableState {
  readonly schema: RecordSchema;
  readonly plan: TablePlan;
  readonly exists: boolean;
  /** Whether it has the column of the words. */
  readonly hasWords: boolean;
  readonly missing: readonly IndexPlan[];
  /** Those of the missing that are there in part: their build goes on, or it was cut off. */
  readonly unfinished: ReadonlySet<string>;
  /** As it is kept; undefined where there is none. */
  readonly noted: string | undefined;
  readonly note: Note | undefined;
  readonly change: DeclarationChange | undefined;
}

/** One query for all collections. */
export async function tablesBehind(
  database: Database,
  schemas: readonly RecordSchema[],
  context: OperationContext,
): Promise<TableState[]> {
  return (await tableStates(database, schemas, context)).filter(isBehind);
}

export async function areThere(
  database: Database,
  schemas: readonly RecordSchema[],
  context: OperationContext,
): Promise<boolean> {
  return (await tableStates(database, schemas, context)).every(({ exists }) => exists);
}

/** @param isKnown whether what is noted of the records counts; otherwise all must be checked. */
export async function tableStates(
  { pool, dialect }: Database,
  schemas: readonly RecordSchema[],
  context: OperationContext,
  isKnown = true,
): Promise<TableState[]> {
  const plans = schemas.map((schema) => ({ schema, plan: tablePlan(dialect, schema) }));
  const names = plans.flatMap(({ plan }) => [plan.name, ...plan.indexes.map((index) => index.name)]);
  const rows = await dialect.definitions.catalogue(pool, names, context);
  const found = new Map(rows.map((row) => [row['name'] as string, row]));
  return plans.map(({ schema, plan }): TableState => {
    const table = found.get(plan.name);
    const noted = (table?.['note'] as string | null | undefined) ?? undefined;
    const note = noted === undefined ? undefined : (JSON.parse(noted) as Note);
    const missing = plan.indexes.filter(({ name }) => !Boolean(found.get(name)?.['valid']));
    return {
      schema,
      plan,
      exists: table !== undefined,
      hasWords: Boolean(table?.['words']),
      missing,
      unfinished: new Set(missing.map(({ name }) => name).filter((name) => found.has(name))),
      noted,
      note,
      change: declarationChange(schema, isKnown ? note : undefined, context.now),
    };
  });
}

/** The indexes of a table that have names of ours, and are not of this declaration. */
export async function undeclaredIndexes(
  { pool, dialect }: Database,
  schema: RecordSchema,
  context: OperationContext,
): Promise<string[]> {
  const { name, indexes } = tablePlan(dialect, schema);
  const { text, values } = dialect.definitions.indexNames(name);
  const { rows } = await pool.query(text, values, context);
  const declared = new Set(indexes.map((index) => index.name));
  const own = new RegExp(`^${name}_[iuwe]_[0-9a-f]{8}$`);
  const names: string[] = [];
  for (const row of rows) names.push(row['name'] as string);
  return names.filter((index) => own.test(index) && !declared.has(index)).sort();
}

function isBehind({ schema, exists, hasWords, missing, change }: TableState): boolean {
  return !exists || missing.length > 0 || change !== undefined || (schema.text.length > 0 && !hasWords);
}

/**
 * Keeps the note of a table, if the one that is kept is still `before`.
 * @returns whether it was; `before` absent: whether there was none.
 */
export async function replaceNote(
  { pool, dialect }: Database,
  name: string,
  before: string | undefined,
  note: string,
  context: OperationContext,
): Promise<boolean> {
  const parameters = dialect.parameters();
  const values = `${parameters.text(name)}, ${parameters.text(note)}`;
  const text =
    `INSERT INTO ${dialect.definitions.notes} AS q (name, note) VALUES (${values}) ` +
    `ON CONFLICT (name) DO UPDATE SET note = excluded.note WHERE q.note = ${parameters.text(before ?? '')}`;
  return (await pool.query(text, parameters.values, context)).affected > 0;
}
