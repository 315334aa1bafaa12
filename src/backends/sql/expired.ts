/** Expired records that no sweep has met yet. */
import type { OperationContext } from '../../component.js';
import type { RecordSchema, Scope } from '../backend.js';
import type { Database } from './dialect.js';

/** They still hold their keys, and would stand against an index of them. @returns how many there were. */
export async function dropExpired(
  { pool, dialect }: Database,
  scope: Scope,
  { name }: RecordSchema,
  context: OperationContext,
): Promise<number> {
  const parameters = dialect.parameters();
  // The second condition lets the planner use the partial index of what expires.
  const terms = [`t.expires_at <= ${parameters.time(context.now)}`, dialect.expires('t.')];
  if (scope !== 'all') terms.push(`t.tenant = ${parameters.text(scope.tenant)}`);
  const text = `DELETE FROM ${dialect.tableName(name)} AS t WHERE ${terms.join(' AND ')}`;
  return (await pool.query(text, parameters.values, context)).affected;
}
