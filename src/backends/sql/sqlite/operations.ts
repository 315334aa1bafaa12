/** The operations of SQLite: pragmas, and statements on the whole file. */
import type { OperationContext } from '../../../component.js';
import { isStorageError, NotFoundError, UnsupportedError } from '../../../errors.js';
import type { SqliteDialectPool, SqlPool, SqlValue } from '../../../pools/pool.js';
import type { BackendOperations, CheckedOptions, IntegrityReport, PageCount } from '../../operations.js';
import { quoted, shaped } from '../catalogue-rows.js';
import type { Row } from '../dialect.js';
import { indexes, stats, tableOf, tables } from './sizes.js';

const LIMIT = 100;

export function sqliteOperations(pool: SqlPool): BackendOperations {
  const ask = async (text: string, values: readonly SqlValue[], context: OperationContext): Promise<readonly Row[]> =>
    (await pool.query(text, values, context)).rows;

  const pageCount = async (context: OperationContext): Promise<PageCount> => {
    const text =
      'SELECT page_count AS pages, freelist_count AS "freePages", page_size AS "pageBytes" ' +
      'FROM pragma_page_count, pragma_freelist_count, pragma_page_size';
    return shaped<PageCount>(await ask(text, [], context))[0]!;
  };

  const faultsOf = async (
    pragma: string,
    subject: number | string,
    context: OperationContext,
  ): Promise<readonly string[]> => {
    try {
      const rows = await ask(`PRAGMA ${pragma}(${subject})`, [], context);
      return shaped<Record<string, string>>(rows).map((row) => row[pragma]!);
    } catch (error) {
      // So damaged that it ends before its end: the first fault is told before that.
      if (!isStorageError(error) || error.details['sqlite'] !== 'SQLITE_CORRUPT') throw error;
      const [first = 'ok'] = subject === 1 ? [] : await faultsOf(pragma, 1, context);
      return [first === 'ok' ? error.message : first];
    }
  };

  const check = async (
    pragma: 'integrity_check' | 'quick_check',
    { collection, limit = LIMIT }: CheckedOptions<'quickCheck'>,
    context: OperationContext,
  ): Promise<IntegrityReport> => {
    const subject = collection === undefined ? limit : quoted(await tableOf(pool, collection, context));
    const faults = await faultsOf(pragma, subject, context);
    return faults.length === 1 && faults[0] === 'ok'
      ? { ok: true, faults: [] }
      : { ok: false, faults: faults.slice(0, limit) };
  };

  return {
    stats: (_options, context) => stats(pool, context),
    tables: (_options, context) => tables(pool, context),
    async databaseSize(_options, context) {
      const { pages, pageBytes } = await pageCount(context);
      return pages * pageBytes;
    },
    async vacuum({ collection, analyze = false }, context) {
      if (collection !== undefined)
        throw new UnsupportedError('SQLite vacuums the whole file, not one collection', {
          component: pool.name,
          operation: 'vacuum',
        });
      await pool.script('VACUUM', context);
      if (analyze) await pool.script('ANALYZE', context);
    },
    async analyze({ collection }, context) {
      await pool.script(
        `ANALYZE ${collection === undefined ? '' : quoted(await tableOf(pool, collection, context))}`,
        context,
      );
    },
    async checkpoint(_options, context) {
      const [row] = await ask('PRAGMA wal_checkpoint(TRUNCATE)', [], context);
      return { complete: row?.['busy'] === 0 };
    },
    integrityCheck: (options, context) => check('integrity_check', options, context),
    quickCheck: (options, context) => check('quick_check', options, context),
    async foreignKeyCheck(_options, context) {
      const text = 'SELECT "table", rowid, parent AS "references" FROM pragma_foreign_key_check';
      return shaped(await ask(text, [], context));
    },
    async indexes({ collection }, context) {
      if (collection !== undefined) await tableOf(pool, collection, context);
      return (await indexes(pool, context)).filter(
        (index) => collection === undefined || index.collection === collection,
      );
    },
    async reindex({ collection, index }, context) {
      if (index === undefined)
        return pool.script(`REINDEX ${quoted(await tableOf(pool, collection!, context))}`, context);
      const isThere = "SELECT name FROM sqlite_schema WHERE type = 'index' AND name = ?";
      if ((index.schema ?? 'main') !== 'main' || (await ask(isThere, [index.name], context)).length === 0)
        throw new NotFoundError(`There is no index ${index.name}`, {
          component: pool.name,
          details: { index: index.name },
        });
      await pool.script(`REINDEX main.${quoted(index.name)}`, context);
    },
    // The first bit: also the tables that this connection has not asked yet.
    optimize: (_options, context) => pool.script('PRAGMA optimize = 0x10002', context),
    async backup({ file }, context) {
      return { bytes: await (pool as SqliteDialectPool).backup(file, context) };
    },
    pageCount: (_options, context) => pageCount(context),
  };
}
