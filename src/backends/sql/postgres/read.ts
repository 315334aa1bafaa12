/** Reads of many keys, and of what refused writes met. */
import type { OperationContext } from '../../../component.js';
import type { RecordKey, RecordSchema, Stored, Write, WriteResult } from '../../backend.js';
import { MAX_VALUE_BYTES } from '../changes.js';
import type { Database, Row } from '../dialect.js';
import { refusal } from '../outcome.js';
import { readRow, RECORD_COLUMNS } from '../row.js';
import { namedStatement } from '../statement-names.js';
import { tableName } from './expressions.js';
import { PostgresParameters } from './parameters.js';
import { patchBytes } from './patch.js';

export async function readMany(
  database: Database,
  tenant: string,
  keys: readonly RecordKey[],
  context: OperationContext,
): Promise<(Stored | undefined)[]> {
  const found = await readRows(database, tenant, keys, '', context);
  return found.map((row, i) => (row === undefined ? undefined : readRow(database.dialect, row, tenant, keys[i]!.id)));
}

/** For each write why it did not happen; `undefined` where its conditions hold by now. */
export async function readRefusals(
  database: Database,
  tenant: string,
  writes: readonly Write[],
  context: OperationContext,
): Promise<(WriteResult | undefined)[]> {
  // The statement of a patch judges by the bytes as the server counts them.
  const found = await readRows(database, tenant, writes, ', octet_length(t.value::text) AS bytes', context);
  return writes.map((write, i) => {
    const row = found[i];
    const met = row === undefined ? undefined : readRow(database.dialect, row, tenant, write.id);
    return refusal(write, met, ({ changes }) => Number(row?.['bytes']) + patchBytes(changes) > MAX_VALUE_BYTES);
  });
}

/** Many keys of any collections in one statement, so that they are of one moment. */
async function readRows(
  { pool }: Database,
  tenant: string,
  keys: readonly RecordKey[],
  columns: string,
  context: OperationContext,
): Promise<(Row | undefined)[]> {
  const groups = new Map<RecordSchema, string[]>();
  for (const { collection, id } of keys) {
    const ids = groups.get(collection);
    if (ids === undefined) groups.set(collection, [id]);
    else ids.push(id);
  }
  const parameters = new PostgresParameters();
  const live = `t.tenant = ${parameters.text(tenant)} AND t.expires_at > ${parameters.time(context.now)}`;
  const collections = [...groups.keys()];
  const parts = collections.map(
    (collection, part) =>
      `SELECT ${part} AS part, ${RECORD_COLUMNS}${columns} FROM ${tableName(collection.name)} AS t ` +
      `WHERE ${live} AND t.id = ANY(${parameters.list(groups.get(collection)!, 'text')})`,
  );
  const text = parts.join(' UNION ALL ');
  const { rows } = await pool.query(text, parameters.values, context, namedStatement(pool, text));
  const found = collections.map(() => new Map<string, Row>());
  for (const row of rows) found[Number(row['part'])]!.set(row['id'] as string, row);
  const places = new Map(collections.map((collection, part) => [collection, found[part]!]));
  return keys.map(({ collection, id }) => places.get(collection)!.get(id));
}
