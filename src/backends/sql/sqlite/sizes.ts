/** What tables and indexes take: SQLite knows by going through their pages. Each is a statement, and a turn, of its own. */
import type { OperationContext } from '../../../component.js';
import { isStorageError, UnsupportedError } from '../../../errors.js';
import type { SqlPool } from '../../../pools/pool.js';
import type { CollectionStats, DatabaseStats, IndexInfo, TableInfo } from '../../operations.js';
import { noTable, quoted, shaped } from '../catalogue-rows.js';
import { catalogueName } from './expressions.js';

const NAME = /^[a-z][a-z0-9_]{0,47}$/;
const PREFIX = catalogueName('');

function collectionOf(table: string): { readonly collection?: string } {
  const name = table.startsWith(PREFIX) ? table.slice(PREFIX.length) : '';
  return NAME.test(name) ? { collection: name } : {};
}

interface Part {
  readonly name: string;
  readonly table: string;
  readonly sql: string | undefined;
}

async function parts(pool: SqlPool, type: 'table' | 'index', context: OperationContext): Promise<Part[]> {
  const text =
    'SELECT name, tbl_name AS "table", sql FROM sqlite_schema WHERE type = ? ' +
    "AND name NOT LIKE 'sqlite\\_stat%' ESCAPE '\\' AND name <> 'sqlite_sequence' ORDER BY name";
  return shaped((await pool.query(text, [type], context)).rows);
}

async function bytesOf(pool: SqlPool, name: string, context: OperationContext): Promise<number> {
  try {
    const text = 'SELECT coalesce(sum(pgsize), 0) AS bytes FROM dbstat WHERE name = ?';
    return (await pool.query(text, [name], context)).rows[0]!['bytes'] as number;
  } catch (error) {
    if (!isStorageError(error) || !error.message.endsWith('no such table: dbstat')) throw error;
    throw new UnsupportedError('This SQLite was compiled without DBSTAT, which tells what tables take', {
      component: pool.name,
      cause: error,
    });
  }
}

async function measure(
  pool: SqlPool,
  chosen: readonly Part[],
  context: OperationContext,
): Promise<readonly TableInfo[]> {
  const owned = await parts(pool, 'index', context);
  const infos: TableInfo[] = [];
  for (const { name } of chosen) {
    const { rows } = await pool.query(`SELECT count(*) AS records FROM ${quoted(name)}`, [], context);
    const bytes = await bytesOf(pool, name, context);
    let indexBytes = 0;
    for (const index of owned) if (index.table === name) indexBytes += await bytesOf(pool, index.name, context);
    infos.push({ name, ...collectionOf(name), records: rows[0]!['records'] as number, bytes, indexBytes });
  }
  return infos;
}

export async function tables(pool: SqlPool, context: OperationContext): Promise<readonly TableInfo[]> {
  return measure(pool, await parts(pool, 'table', context), context);
}

export async function stats(pool: SqlPool, context: OperationContext): Promise<DatabaseStats> {
  const own = (await parts(pool, 'table', context)).filter(({ name }) => collectionOf(name).collection !== undefined);
  const collections: CollectionStats[] = [];
  for (const { collection, records, bytes, indexBytes } of await measure(pool, own, context))
    collections.push({ collection: collection!, records, exact: true, bytes, indexBytes });
  return { collections };
}

/** The table's name in the catalogue. @throws `NOT_FOUND` when it is not there. */
export async function tableOf(pool: SqlPool, collection: string, context: OperationContext): Promise<string> {
  const name = catalogueName(collection);
  const text = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = ?";
  if ((await pool.query(text, [name], context)).rows.length === 0) throw noTable(collection, pool.name);
  return name;
}

export async function indexes(pool: SqlPool, context: OperationContext): Promise<IndexInfo[]> {
  const text =
    'SELECT i.name FROM sqlite_schema AS t, pragma_index_list(t.name) AS i WHERE t.type = \'table\' AND i."unique"';
  const unique = new Set((await pool.query(text, [], context)).rows.map((row) => row['name']));
  const infos: IndexInfo[] = [];
  for (const { name, table, sql } of await parts(pool, 'index', context))
    infos.push({
      name,
      table,
      ...collectionOf(table),
      unique: unique.has(name),
      valid: true,
      bytes: await bytesOf(pool, name, context),
      // SQLite makes those of its constraints itself.
      definition: sql ?? `of a constraint of ${table}`,
    });
  return infos;
}
