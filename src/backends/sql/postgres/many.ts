/**
 * Patches of many records, one statement each: it locks the rows first and then changes them by their keys. What changed
 * since the statement began is asked again when it is locked, and cannot change after that.
 */
import type { OperationContext } from '../../../component.js';
import type { SqlResult } from '../../../pools/pool.js';
import type { ClaimRequest, Scope, Stored, UpdateRequest } from '../../backend.js';
import { changesTree } from '../changes.js';
import { againAfterDeadlock } from '../../../pools/deadlock.js';
import type { Database, Dialect, Statement } from '../dialect.js';
import { findColumns, orderBy, whereLive } from '../find.js';
import { readRows } from '../row.js';
import { namedStatement } from '../statement-names.js';
import { afterPart, expiredPart, mayMeet } from './expired.js';
import { tableName } from './expressions.js';
import { PostgresParameters } from './parameters.js';
import { fitConditions, patchAssignments, patchedExpiry, patchedValue } from './patch.js';
import { writeUnique } from './write.js';

/**
 * All rows at once: an increment that ended half way could not be repeated, and pages would need the order of the keys, which
 * the filter's index does not have. Two of these lock in the same order, so that neither waits for what waits for it.
 */
export async function updateMany(
  database: Database,
  scope: Scope,
  request: UpdateRequest,
  context: OperationContext,
): Promise<number> {
  const result = await run(database, request, context, (free) => {
    const parameters = new PostgresParameters();
    const rows = 'ORDER BY t.tenant, t.id FOR NO KEY UPDATE';
    return { text: patchText(database.dialect, scope, request, context.now, rows, free, parameters), parameters };
  });
  return result.affected;
}

/** What another transaction has locked is passed over, not waited for. */
export async function claim(
  database: Database,
  scope: Scope,
  request: ClaimRequest,
  context: OperationContext,
): Promise<Stored[]> {
  const { dialect } = database;
  const { rows } = await run(database, request, context, (free) => {
    const parameters = new PostgresParameters();
    const limit = parameters.integer(request.limit);
    const picked = `ORDER BY ${orderBy(dialect, scope, request.sort)} LIMIT ${limit} FOR NO KEY UPDATE SKIP LOCKED`;
    const patch = patchText(dialect, scope, request, context.now, picked, free, parameters);
    return { text: `${patch} RETURNING ${findColumns(scope)}`, parameters };
  });
  return readRows(dialect, scope, rows);
}

/** @param rows which of the matching rows, and how they are locked: as an UPDATE locks them. */
function patchText(
  dialect: Dialect,
  scope: Scope,
  { collection, filter, changes, expiresAt }: UpdateRequest,
  now: Date,
  rows: string,
  free: boolean,
  parameters: PostgresParameters,
): string {
  const table = tableName(collection.name);
  const tree = changesTree(changes);
  const live = whereLive(dialect, scope, filter, now, parameters);
  // As one: nearly all rows fit, but the planner guesses a few in a thousand for each condition, and so sorts them all.
  const fits = `CASE WHEN ${fitConditions(changes, tree, parameters).join(' AND ')} THEN TRUE ELSE FALSE END`;
  const value = patchedValue(tree, parameters);
  const expiry = patchedExpiry(expiresAt, parameters);
  const time = parameters.time(now);
  const tenant = scope === 'all' || !free ? undefined : parameters.text(scope.tenant);
  const gone = free ? `${expiredPart('gone', collection, time, tenant)}, ` : '';
  const after = free ? `, ${afterPart('gone')}` : '';
  // A part that locks is run once, whatever the plan; as a subquery with a limit it may be run for each row.
  return (
    `WITH ${gone}picked AS (SELECT t.tenant, t.id FROM ${table} AS t WHERE ${live} AND ${fits} ${rows}) ` +
    `UPDATE ${table} AS t SET ${patchAssignments(value, expiry, time)} ` +
    `FROM picked AS p${after} WHERE t.tenant = p.tenant AND t.id = p.id`
  );
}

function run(
  database: Database,
  request: UpdateRequest,
  context: OperationContext,
  statement: (free: boolean) => Statement,
): Promise<SqlResult> {
  const { pool } = database;
  const { collection, changes } = request;
  return writeUnique(database, [request], context, (freeing, on) => {
    const { text, parameters } = statement(mayMeet({ kind: 'patch', collection, id: '', changes }, freeing));
    return againAfterDeadlock(on, () => pool.query(text, parameters.values, on, namedStatement(pool, text)));
  });
}
