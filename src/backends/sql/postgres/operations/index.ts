/** The operations of PostgreSQL, on a server or as PGlite. */
import type { PostgresDialectPool, SqlPool } from '../../../../pools/pool.js';
import type { BackendOperations } from '../../../operations.js';
import { blocking, connections, currentOperations } from './activity.js';
import { ensureExtensions, extensions } from './extensions.js';
import { indexes, reindex } from './indexes.js';
import { databaseSize, stats, tableOf, tables } from './sizes.js';

export function postgresOperations(pool: SqlPool): BackendOperations {
  return {
    stats: ({ exact = false }, context) => stats(pool, exact, context),
    databaseSize: (_options, context) => databaseSize(pool, context),
    tables: (_options, context) => tables(pool, context),
    extensions: (_options, context) => extensions(pool, context),
    ensureExtensions: ({ names }, context) => ensureExtensions(pool, names, context),
    connections: (_options, context) => connections(pool, context),
    currentOperations: ({ longerThan = 0 }, context) => currentOperations(pool, longerThan, context),
    blocking: (_options, context) => blocking(pool, context),
    async vacuum({ collection, full = false, analyze = false }, context) {
      const table = collection === undefined ? '' : ` ${await tableOf(pool, collection, context)}`;
      const options = [...(full ? ['FULL'] : []), ...(analyze ? ['ANALYZE'] : [])];
      await pool.script(`VACUUM${options.length === 0 ? '' : ` (${options.join(', ')})`}${table}`, context);
    },
    async analyze({ collection }, context) {
      const table = collection === undefined ? '' : ` ${await tableOf(pool, collection, context)}`;
      await pool.script(`ANALYZE${table}`, context);
    },
    async checkpoint(_options, context) {
      await pool.script('CHECKPOINT', context);
      return { complete: true };
    },
    indexes: ({ collection }, context) => indexes(pool, 'all', collection, context),
    unusedIndexes: ({ collection }, context) => indexes(pool, 'unused', collection, context),
    invalidIndexes: ({ collection }, context) => indexes(pool, 'invalid', collection, context),
    reindex: (options, context) => reindex(pool, options, context),
    ...backupOf(pool),
  };
}

function backupOf(pool: SqlPool & Pick<PostgresDialectPool, 'backup'>): Pick<BackendOperations, 'backup'> {
  if (pool.backup === undefined) return {};
  return { backup: async ({ file }, context) => ({ bytes: await pool.backup!(file, context) }) };
}
