/** What tables take, by the server's own figures. */
import type { OperationContext } from '../../../../component.js';
import type { SqlPool } from '../../../../pools/pool.js';
import type { CollectionStats, DatabaseStats, TableInfo } from '../../../operations.js';
import { noTable, shaped } from '../../catalogue-rows.js';
import { SCHEMA, tableName } from '../expressions.js';

/** The collection whose table `c` is: of our schema, by a name of ours, with the columns of records. NULL for others. */
export const COLLECTION =
  `CASE WHEN n.nspname = '${SCHEMA}' AND c.relkind IN ('r', 'p') AND c.relname ~ '^[a-z][a-z0-9_]{0,47}$' AND ` +
  'EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a ' +
  `WHERE a.attrelid = c.oid AND a.attname = 'value' AND NOT a.attisdropped) THEN c.relname::text END`;

/** As the planner does: rows a page at the last vacuum or analyze, by the pages of now. NULL before the first. */
const ESTIMATE =
  "CASE WHEN c.relkind = 'p' THEN NULL WHEN pg_catalog.pg_relation_size(c.oid) = 0 THEN 0 WHEN c.relpages > 0 AND c.reltuples >= 0 THEN " +
  'round(c.reltuples::float8 / c.relpages * ' +
  "(pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::float8)) END";

/** Of a table that the host has partitioned: those of its partitions. */
const sizeOf = (measure: string): string =>
  `coalesce((SELECT sum(${measure}(p.relid)) FROM pg_catalog.pg_partition_tree(c.oid) p), ${measure}(c.oid), 0)::float8`;

const SIZES = `${sizeOf('pg_catalog.pg_table_size')} AS bytes, ${sizeOf('pg_catalog.pg_indexes_size')} AS "indexBytes"`;

const FROM = 'pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace';

export async function stats(pool: SqlPool, exact: boolean, context: OperationContext): Promise<DatabaseStats> {
  const { rows } = await pool.query(
    `SELECT ${COLLECTION} AS collection, ${ESTIMATE} AS records, ${SIZES} FROM ${FROM} ` +
      `WHERE n.nspname = $1::text AND ${COLLECTION} IS NOT NULL ORDER BY c.relname COLLATE "C"`,
    [SCHEMA],
    context,
  );
  const collections: CollectionStats[] = [];
  for (const row of shaped<Omit<CollectionStats, 'records' | 'exact'> & { records?: number }>(rows)) {
    const counts = exact || row.records === undefined;
    const records = counts ? await count(pool, row.collection, context) : row.records!;
    collections.push({ ...row, records, exact: counts });
  }
  return { collections };
}

async function count(pool: SqlPool, collection: string, context: OperationContext): Promise<number> {
  const { rows } = await pool.query(`SELECT count(*)::float8 AS records FROM ${tableName(collection)}`, [], context);
  return rows[0]!['records'] as number;
}

export async function tables(pool: SqlPool, context: OperationContext): Promise<TableInfo[]> {
  const { rows } = await pool.query(
    `SELECT n.nspname::text AS schema, c.relname::text AS name, ${COLLECTION} AS collection, ` +
      `coalesce(${ESTIMATE}, s.n_live_tup, 0)::float8 AS records, s.n_dead_tup::float8 AS "deadRecords", ${SIZES}, ` +
      'greatest(s.last_vacuum, s.last_autovacuum) AS "vacuumedAt", ' +
      'greatest(s.last_analyze, s.last_autoanalyze) AS "analyzedAt" ' +
      `FROM ${FROM} LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid WHERE c.relkind IN ('r', 'p', 'm') ` +
      "AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' " +
      'ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"',
    [],
    context,
  );
  return shaped(rows);
}

export async function databaseSize(pool: SqlPool, context: OperationContext): Promise<number> {
  const text = 'SELECT pg_catalog.pg_database_size(pg_catalog.current_database())::float8 AS bytes';
  return (await pool.query(text, [], context)).rows[0]!['bytes'] as number;
}

/** The table in quotes. @throws `NOT_FOUND` when it is not there. */
export async function tableOf(pool: SqlPool, collection: string, context: OperationContext): Promise<string> {
  const { rows } = await pool.query(
    `SELECT 1 AS found FROM ${FROM} WHERE n.nspname = $1::text AND c.relname = $2::text AND ${COLLECTION} IS NOT NULL`,
    [SCHEMA, collection],
    context,
  );
  if (rows.length === 0) throw noTable(collection, pool.name);
  return tableName(collection);
}
