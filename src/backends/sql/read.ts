/** Reads by key. */
import type { OperationContext } from '../../component.js';
import type { SqlPool } from '../../pools/pool.js';
import type { RecordKey, RecordSchema, Stored } from '../backend.js';
import { tableName } from './expressions.js';
import type { Met } from './outcome.js';
import { Parameters, timeText } from './parameters.js';
import { readRow, RECORD_COLUMNS, type Row } from './row.js';
import { keyStatements } from './statements.js';

export async function readKeys(
  pool: SqlPool,
  tenant: string,
  keys: readonly RecordKey[],
  context: OperationContext,
): Promise<(Stored | undefined)[]> {
  if (keys.length !== 1) {
    const found = await readRows(pool, tenant, keys, '', context);
    return found.map((row, i) => (row === undefined ? undefined : readRow(row, tenant, keys[i]!.id)));
  }
  const { collection, id } = keys[0]!;
  const { get } = keyStatements(collection);
  const { rows } = await pool.query(get.text, [tenant, id, timeText(context.now)], context, get.options);
  const row = rows[0];
  return [row === undefined ? undefined : readRow(row, tenant, id)];
}

/** The records that refused writes met, with what a refusal needs to be told. */
export async function readMet(
  pool: SqlPool,
  tenant: string,
  keys: readonly RecordKey[],
  context: OperationContext,
): Promise<(Met | undefined)[]> {
  const found = await readRows(pool, tenant, keys, ', octet_length(t.value::text) AS bytes', context);
  return found.map((row, i) =>
    row === undefined ? undefined : { record: readRow(row, tenant, keys[i]!.id), bytes: Number(row['bytes']) },
  );
}

/** Many keys of any collections in one statement, so that they are of one moment. */
async function readRows(
  pool: SqlPool,
  tenant: string,
  keys: readonly RecordKey[],
  columns: string,
  context: OperationContext,
): Promise<(Row | undefined)[]> {
  if (keys.length === 0) return [];
  const groups = new Map<RecordSchema, string[]>();
  for (const { collection, id } of keys) {
    const ids = groups.get(collection);
    if (ids === undefined) groups.set(collection, [id]);
    else ids.push(id);
  }
  const parameters = new Parameters();
  const live = `t.tenant = ${parameters.add(tenant, 'text')} AND t.expires_at > ${parameters.add(timeText(context.now), 'timestamptz')}`;
  const collections = [...groups.keys()];
  const parts = collections.map(
    (collection, part) =>
      `SELECT ${part} AS part, ${RECORD_COLUMNS}${columns} FROM ${tableName(collection.name)} AS t ` +
      `WHERE ${live} AND t.id = ANY(${parameters.list(groups.get(collection)!, 'text')})`,
  );
  const { rows } = await pool.query(parts.join(' UNION ALL '), parameters.values, context);
  const found = collections.map(() => new Map<string, Row>());
  for (const row of rows) found[Number(row['part'])]!.set(row['id'] as string, row);
  const places = new Map(collections.map((collection, part) => [collection, found[part]!]));
  return keys.map(({ collection, id }) => places.get(collection)!.get(id));
}
