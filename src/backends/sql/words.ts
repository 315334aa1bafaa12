/** Words are made here and not by the server, so records from before a declaration are read, and written once. */
import type { OperationContext } from '../../component.js';
import { recordWords } from '../../filter/text.js';
import type { RecordSchema } from '../backend.js';
import type { Database } from './dialect.js';
import { readTime } from './row.js';
import { tablePlan } from './table-plan.js';

const PAGE = 500;

export type RecordPlace = readonly [tenant: string, id: string];

/** @param onPage told the last record whose words are made. */
export async function makeWords(
  { pool, dialect }: Database,
  schema: RecordSchema,
  from: RecordPlace,
  context: OperationContext,
  onPage: (last: RecordPlace) => Promise<void>,
): Promise<void> {
  const { table } = tablePlan(dialect, schema);
  for (let last = from; ;) {
    const parameters = dialect.parameters();
    const after = `(${last.map((key) => parameters.text(key)).join(', ')})`;
    const { rows } = await pool.query(
      `SELECT t.tenant, t.id, t.version, t.created_at, t.value FROM ${table} t WHERE (t.tenant, t.id) > ${after} ORDER BY t.tenant, t.id LIMIT ${PAGE}`,
      parameters.values,
      context,
    );
    const end = rows.at(-1);
    if (end === undefined) return;
    last = [end['tenant'] as string, end['id'] as string];
    const words = rows.map((row) => ({
      tenant: row['tenant'] as string,
      id: row['id'] as string,
      version: Number(row['version']),
      createdAt: readTime(row['created_at']),
      words: recordWords(schema.text, dialect.readValue(row['value'])),
    }));
    await dialect.definitions.saveWords(pool, table, words, context);
    await onPage(last);
  }
}
