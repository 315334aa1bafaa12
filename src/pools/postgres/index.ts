/** `postgresql:`: a PostgreSQL server, by the package `pg`. */
import type { PoolDriver, SqlPool } from '../pool.js';
import { readAddress } from './address.js';
import { PostgresPool } from './pool.js';
import { optionsKey, readOptions, settings } from './settings.js';

export const postgres: PoolDriver<SqlPool> = {
  name: 'postgres',
  schemes: ['postgresql', 'postgres'],
  backend: 'sql',
  vectors: 'pgvector',
  settings,
  checkUrl(url) {
    const address = readAddress(url);
    return typeof address === 'string' ? address : undefined;
  },
  key: (url, options) => optionsKey(readOptions(url, options)),
  create: (url, options, environment) => new PostgresPool(readOptions(url, options), environment),
  tests: [
    {
      name: 'postgres',
      variable: 'TEST_POSTGRES_URL',
      prepare: async (url) => (await import('./test-database.js')).createTestDatabase(url),
    },
  ],
};
