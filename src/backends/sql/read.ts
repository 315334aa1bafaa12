/** Reads by key. */
import type { OperationContext } from '../../component.js';
import type { RecordKey, Stored } from '../backend.js';
import type { Database } from './dialect.js';
import { readRow } from './row.js';

export async function readKeys(
  database: Database,
  tenant: string,
  keys: readonly RecordKey[],
  context: OperationContext,
): Promise<(Stored | undefined)[]> {
  if (keys.length === 0) return [];
  const { pool, dialect } = database;
  if (keys.length > 1) return dialect.readMany(database, tenant, keys, context);
  const { collection, id } = keys[0]!;
  const { get } = dialect.statements(collection);
  const { rows } = await pool.query(get.text, [tenant, id, dialect.time(context.now)], context, get.options);
  const row = rows[0];
  return [row === undefined ? undefined : readRow(dialect, row, tenant, id)];
}
