/** Reads of several statements, of one moment. */
import type { OperationContext } from '../../../component.js';
import type { Range } from '../../../filter/cursor.js';
import type { RunStatement, SqliteDialectPool } from '../../../pools/pool.js';
import type { FindRequest, RecordKey, Scope, Stored } from '../../backend.js';
import type { Database, Dialect, Row } from '../dialect.js';
import { findStatement } from '../find.js';
import { readRow } from '../row.js';

export function steps({ pool }: Database): SqliteDialectPool {
  return pool as SqliteDialectPool;
}

export function readOne(
  run: RunStatement,
  dialect: Dialect,
  tenant: string,
  { collection, id }: RecordKey,
  now: Date,
): Stored | undefined {
  const row = run(dialect.statements(collection).get.text, [tenant, id, now.getTime()]).rows[0];
  return row === undefined ? undefined : readRow(dialect, row, tenant, id);
}

export function readMany(
  database: Database,
  tenant: string,
  keys: readonly RecordKey[],
  context: OperationContext,
): Promise<(Stored | undefined)[]> {
  const { dialect } = database;
  return steps(database).step('read', context, (run) =>
    keys.map((key) => readOne(run, dialect, tenant, key, context.now)),
  );
}

/** One range after the other until there are enough: each is one part of an index. */
export function findRanges(
  database: Database,
  scope: Scope,
  request: FindRequest,
  ranges: readonly Range[],
  context: OperationContext,
): Promise<readonly Row[]> {
  return steps(database).step('read', context, (run) => {
    const rows: Row[] = [];
    for (const range of ranges) {
      const rest = { ...request, limit: request.limit - rows.length };
      const { text, parameters } = findStatement(database.dialect, scope, rest, range, context.now);
      rows.push(...run(text, parameters.values).rows);
      if (rows.length >= request.limit) break;
    }
    return rows;
  });
}
