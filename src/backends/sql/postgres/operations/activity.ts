/** Who is connected, what runs, and what waits for whom. */
import type { OperationContext } from '../../../../component.js';
import type { SqlPool } from '../../../../pools/pool.js';
import type { BlockedOperation, ConnectionInfo, RunningOperation } from '../../../operations.js';
import { shaped } from '../../catalogue-rows.js';

const CLIENT =
  'a.pid::text AS id, a.usename::text AS "user", nullif(a.application_name, \'\') AS application, ' +
  "pg_catalog.host(a.client_addr) AS address, coalesce(a.state, 'unknown') AS state";

const sinceThen = (time: string): string =>
  `greatest(extract(epoch FROM clock_timestamp() - ${time}) * 1000, 0)::float8`;

/** Of a transaction that holds others up between its statements, the transaction. */
const STARTED =
  "coalesce(CASE WHEN a.state LIKE 'idle in transaction%' THEN a.xact_start ELSE a.query_start END, a.backend_start)";

const OPERATION =
  `${CLIENT}, a.query AS text, ${STARTED} AS "startedAt", ${sinceThen(STARTED)} AS age, ` +
  "CASE WHEN a.state = 'active' THEN a.wait_event_type || ': ' || a.wait_event END AS \"waitsFor\"";

/** PGlite's one connection is called standalone. */
const IN_DATABASE =
  "a.datname = pg_catalog.current_database() AND a.backend_type IN ('client backend', 'standalone backend'";

export async function connections(pool: SqlPool, context: OperationContext): Promise<ConnectionInfo[]> {
  const { rows } = await pool.query(
    `SELECT ${CLIENT}, ${sinceThen('a.state_change')} AS "stateAge", a.backend_start AS "connectedAt", ` +
      'a.xact_start AS "transactionStartedAt" FROM pg_catalog.pg_stat_activity a ' +
      `WHERE ${IN_DATABASE}) ORDER BY a.backend_start, a.pid`,
    [],
    context,
  );
  return shaped(rows);
}

export async function currentOperations(
  pool: SqlPool,
  longerThan: number,
  context: OperationContext,
): Promise<RunningOperation[]> {
  const { rows } = await pool.query(
    `SELECT ${OPERATION} FROM pg_catalog.pg_stat_activity a WHERE ${IN_DATABASE}, 'autovacuum worker') ` +
      `AND a.state = 'active' AND a.pid <> pg_catalog.pg_backend_pid() AND ${sinceThen(STARTED)} >= $1::float8 ` +
      `ORDER BY ${STARTED}, a.pid`,
    [longerThan],
    context,
  );
  return shaped(rows);
}

/** One question, so that those who wait and those who hold are of one moment. */
export async function blocking(pool: SqlPool, context: OperationContext): Promise<BlockedOperation[]> {
  const { rows } = await pool.query(
    'WITH waiting AS MATERIALIZED (SELECT w.pid, pg_catalog.pg_blocking_pids(w.pid) AS holders ' +
      'FROM pg_catalog.pg_stat_activity w WHERE w.datname = pg_catalog.current_database() ' +
      "AND w.wait_event_type = 'Lock') " +
      `SELECT ${OPERATION}, (SELECT pg_catalog.to_jsonb(w.holders) FROM waiting w WHERE w.pid = a.pid) AS holders ` +
      'FROM pg_catalog.pg_stat_activity a WHERE a.pid IN (SELECT pid FROM waiting) ' +
      `OR a.pid IN (SELECT unnest(holders) FROM waiting) ORDER BY ${STARTED}, a.pid`,
    [],
    context,
  );
  const involved = new Map<string, RunningOperation>();
  const waiting: { readonly operation: RunningOperation; readonly holders: readonly number[] }[] = [];
  for (const { holders, ...operation } of shaped<RunningOperation & { holders?: readonly number[] }>(rows)) {
    involved.set(operation.id, operation);
    if (holders !== undefined && holders.length > 0) waiting.push({ operation, holders });
  }
  return waiting.map(({ operation, holders }) => ({
    ...operation,
    blockedBy: [...new Set(holders)].flatMap((pid) => involved.get(String(pid)) ?? []),
  }));
}
