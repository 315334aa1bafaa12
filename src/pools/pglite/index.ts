/** `pglite:`: PostgreSQL inside the process, in a directory or in memory. */
import { resolve } from 'node:path';
import type { DatabasePlace } from './database.js';
import { PglitePool } from './pool.js';
import { createTestDatabase } from './test-database.js';
import type { PoolDriver, SqlPool } from '../pool.js';

const MEMORY = ':memory:';
/** Before the file of a backup that a new database begins with. */
const FROM = '?from=';
const ACQUIRE_TIMEOUT = 5_000;

interface Location {
  /** `:memory:`, or a directory. */
  readonly path: string;
  /** What follows it, from its `?` on. */
  readonly query: string;
}

function location(url: string): Location {
  const place = url.slice(url.indexOf(':') + 1);
  const end = place.indexOf('?');
  return end === -1 ? { path: place, query: '' } : { path: place.slice(0, end), query: place.slice(end) };
}

function placeOf({ path, query }: Location): DatabasePlace {
  return {
    ...(path === MEMORY ? {} : { directory: resolve(path) }),
    ...(query === '' ? {} : { dump: resolve(query.slice(FROM.length)) }),
  };
}

export const pglite: PoolDriver<SqlPool> = {
  name: 'pglite',
  schemes: ['pglite'],
  backend: 'sql',
  vectors: 'pgvector',
  settings: {
    acquireTimeout: {
      doc: 'How long an operation waits for the only connection, in milliseconds, before it fails with UNAVAILABLE.',
      format: 'milliseconds',
      default: ACQUIRE_TIMEOUT,
    },
  },
  checkUrl(url) {
    const { path, query } = location(url);
    if (path === '') return 'a directory or :memory: must follow pglite:';
    if (path.includes('\0')) return 'the directory contains a NUL character';
    if (path.startsWith('//')) return 'a directory is written pglite:./directory or pglite:/directory, without //';
    if (/^memory:?$/.test(path))
      return 'a database in memory is written pglite::memory:, and a directory of that name pglite:./memory';
    if (path.startsWith(':') && path !== MEMORY) return 'the only name between colons is :memory:';
    if (query === FROM) return 'the file of a backup must follow ?from=';
    if (query !== '' && !query.startsWith(FROM)) return 'the only parameter is ?from= with the file of a backup';
    return undefined;
  },
  key(url, _options, name) {
    const { path } = location(url);
    return path === MEMORY ? `pglite::memory:${name}` : `pglite:${resolve(path)}`;
  },
  create(url, options, environment) {
    const { acquireTimeout = ACQUIRE_TIMEOUT } = options as { acquireTimeout?: number };
    return new PglitePool(placeOf(location(url)), acquireTimeout, environment);
  },
  tests: [{ name: 'pglite', url: `pglite:${MEMORY}`, prepare: createTestDatabase }],
};
