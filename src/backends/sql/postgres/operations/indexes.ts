/** The indexes of all tables, how they are used, and building them anew. */
import type { OperationContext } from '../../../../component.js';
import { NotFoundError } from '../../../../errors.js';
import type { SqlPool } from '../../../../pools/pool.js';
import type { CheckedOptions, IndexInfo } from '../../../operations.js';
import { quoted, shaped } from '../../catalogue-rows.js';
import { COLLECTION, tableOf } from './sizes.js';

/** What holds a constraint, or says which row is which to a replica, serves without being read. */
const UNUSED =
  'coalesce(s.idx_scan, 0) = 0 AND i.indisvalid AND NOT i.indisunique AND NOT i.indisexclusion AND NOT i.indisreplident';
const INVALID = 'NOT (i.indisvalid AND i.indisready)';

export async function indexes(
  pool: SqlPool,
  which: 'all' | 'unused' | 'invalid',
  collection: string | undefined,
  context: OperationContext,
): Promise<IndexInfo[]> {
  if (collection !== undefined) await tableOf(pool, collection, context);
  const condition = { all: 'true', unused: UNUSED, invalid: INVALID }[which];
  const { rows } = await pool.query(
    `SELECT n.nspname::text AS schema, x.relname::text AS name, c.relname::text AS table, ${COLLECTION} AS collection, ` +
      'i.indisunique AS unique, i.indisvalid AND i.indisready AS valid, ' +
      'coalesce(pg_catalog.pg_relation_size(x.oid), 0) AS bytes, coalesce(s.idx_scan, 0)::float8 AS uses, ' +
      'pg_catalog.pg_get_indexdef(x.oid) AS definition ' +
      'FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid ' +
      'JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ' +
      'LEFT JOIN pg_catalog.pg_stat_all_indexes s ON s.indexrelid = i.indexrelid ' +
      "WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' " +
      `AND ($1::text IS NULL OR ${COLLECTION} = $1::text) AND ${condition} ` +
      'ORDER BY n.nspname COLLATE "C", x.relname COLLATE "C"',
    [collection ?? null],
    context,
  );
  return shaped(rows);
}

/** What a `REINDEX CONCURRENTLY` that failed left behind: a second copy, to be dropped and not to be built. */
const LEFT_BEHIND = /_cc(new|old)\d*$/;

/** One statement an index: that of a whole table passes over the invalid ones. */
export async function reindex(
  pool: SqlPool,
  { collection, index }: CheckedOptions<'reindex'>,
  context: OperationContext,
): Promise<void> {
  const all = await indexes(pool, 'all', collection, context);
  const chosen =
    index === undefined
      ? all.filter(({ name }) => !LEFT_BEHIND.test(name))
      : all.filter(({ schema, name }) => name === index.name && schema === (index.schema ?? 'public'));
  if (index !== undefined && chosen.length === 0)
    throw new NotFoundError(`There is no index ${index.name}`, {
      component: pool.name,
      details: { index: index.name },
    });
  for (const { schema, name } of chosen)
    await pool.script(`REINDEX INDEX CONCURRENTLY ${quoted(schema!)}.${quoted(name)}`, context);
}
