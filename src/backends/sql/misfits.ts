/** Records that stand against a declaration: counted, and the first of them named. */
import type { OperationContext } from '../../component.js';
import type { FieldSchema, RecordSchema } from '../backend.js';
import { fieldsRefused, idsRefused, type RecordName, SHOWN_RECORDS, uniqueRefused } from '../declaration.js';
import type { TableState } from './catalogue.js';
import type { Database, Parameters, Row } from './dialect.js';
import { tablePlan, type UniquePlan } from './table-plan.js';

/** @throws `MIGRATION` for the form of ids, the fields and the constraints that are new to the records there. */
export async function refuseMisfits(
  database: Database,
  { schema, plan, missing, change }: TableState,
  context: OperationContext,
): Promise<void> {
  if (change?.ids === true) await checkIds(database, schema, context);
  if (change !== undefined) await checkFields(database, schema, change.fields, context);
  for (const { name } of missing) {
    const constraint = plan.unique.get(name);
    if (constraint !== undefined) await checkUnique(database, schema, constraint, context);
  }
}

async function checkIds({ pool, dialect }: Database, schema: RecordSchema, context: OperationContext): Promise<void> {
  const { table } = tablePlan(dialect, schema);
  const { numberedId } = dialect.definitions;
  const parameters = dialect.parameters();
  const misfit = schema.numbered === true ? `NOT (${numberedId})` : numberedId;
  const { rows } = await pool.query(
    `SELECT t.tenant, t.id, count(*) OVER () AS count FROM ${table} t WHERE ${live(parameters, context)} AND ${misfit} ` +
      `ORDER BY t.tenant, t.id LIMIT ${SHOWN_RECORDS}`,
    parameters.values,
    context,
  );
  if (rows.length > 0) throw idsRefused(schema, { count: Number(rows[0]!['count']), records: rows.map(nameOf) });
}

/** One scan of the table. */
async function checkFields(
  database: Database,
  schema: RecordSchema,
  fields: ReadonlyMap<string, FieldSchema>,
  context: OperationContext,
): Promise<void> {
  if (fields.size === 0) return;
  const { pool, dialect } = database;
  const { table } = tablePlan(dialect, schema);
  const checks = [...fields].map(([path, field]) => ({
    path,
    misfit: dialect.definitions.misfit(path.split('.'), field),
  }));
  const any = checks.map(({ misfit }) => misfit).join(' OR ');
  const counts = dialect.parameters();
  const each = checks.map(({ misfit }, i) => `count(*) FILTER (WHERE ${misfit}) AS f${i}`).join(', ');
  const { rows } = await pool.query(
    `SELECT count(*) AS count, ${each} FROM ${table} t WHERE ${live(counts, context)} AND (${any})`,
    counts.values,
    context,
  );
  const count = Number(rows[0]!['count']);
  if (count === 0) return;
  const first = dialect.parameters();
  const sample = await pool.query(
    `SELECT t.tenant, t.id FROM ${table} t WHERE ${live(first, context)} AND (${any}) ORDER BY t.tenant, t.id LIMIT ${SHOWN_RECORDS}`,
    first.values,
    context,
  );
  const broken = checks.map(({ path }, i) => [path, Number(rows[0]![`f${i}`])] as const).filter(([, n]) => n > 0);
  throw fieldsRefused(schema, { count, records: sample.rows.map(nameOf) }, Object.fromEntries(broken));
}

/** @throws `MIGRATION` when records have the same values of the constraint. */
export async function checkUnique(
  { pool, dialect }: Database,
  schema: RecordSchema,
  { constraint, keys }: UniquePlan,
  context: OperationContext,
): Promise<void> {
  const { table } = tablePlan(dialect, schema);
  const parameters = dialect.parameters();
  const list = keys.join(', ');
  const present = keys.map((key) => `${key} IS NOT NULL`).join(' AND ');
  const columns = keys.map((key, i) => `${key} AS k${i}`).join(', ');
  const order = keys.map((_, i) => `s.k${i}`).join(', ');
  const { rows } = await pool.query(
    `SELECT s.tenant, s.id, count(*) OVER () AS count FROM (SELECT t.tenant, t.id, ${columns}, ` +
      `count(*) OVER (PARTITION BY t.tenant, ${list}) AS same FROM ${table} t WHERE ${live(parameters, context)} AND ${present}) s ` +
      `WHERE s.same > 1 ORDER BY s.tenant, ${order}, s.id LIMIT ${SHOWN_RECORDS}`,
    parameters.values,
    context,
  );
  if (rows.length === 0) return;
  throw uniqueRefused(schema, constraint, { count: Number(rows[0]!['count']), records: rows.map(nameOf) });
}

function live(parameters: Parameters, { now }: OperationContext): string {
  return `t.expires_at > ${parameters.time(now)}`;
}

function nameOf(row: Row): RecordName {
  return { tenant: row['tenant'] as string, id: row['id'] as string };
}
