/** `pglite:`: PostgreSQL inside the process, in a directory or in memory. */
import { resolve } from 'node:path';
import type { DatabasePlace } from './database.js';
import { PglitePool } from './pool.js';
import { createTestDatabase } from './test-database.js';
import type { PoolDriver, SqlPool } from '../pool.js';

const MEMORY = ':memory:';
/** In memory, beginning with a dump. */
const FROM = `${MEMORY}?from=`;
const ACQUIRE_TIMEOUT = 5_000;

function location(url: string): string {
  return url.slice(url.indexOf(':') + 1);
}

function placeOf(path: string): DatabasePlace {
  if (path === MEMORY) return {};
  return path.startsWith(FROM) ? { dump: resolve(path.slice(FROM.length)) } : { directory: resolve(path) };
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
    const path = location(url);
    if (path === '') return 'a directory or :memory: must follow pglite:';
    if (path.includes('\0')) return 'the directory contains a NUL character';
    if (path.startsWith('//')) return 'a directory is written pglite:./directory or pglite:/directory, without //';
    if (path === FROM) return 'the file of a dump must follow ?from=';
    if (path.startsWith(':') && path !== MEMORY && !path.startsWith(FROM))
      return 'the only name between colons is :memory:, alone or with ?from= and the file of a dump';
    return undefined;
  },
  key(url, _options, name) {
    const path = location(url);
    return path.startsWith(MEMORY) ? `pglite::memory:${name}` : `pglite:${resolve(path)}`;
  },
  create(url, options, environment) {
    const path = location(url);
    const { acquireTimeout = ACQUIRE_TIMEOUT } = options as { acquireTimeout?: number };
    return new PglitePool(placeOf(path), acquireTimeout, environment);
  },
  tests: [{ name: 'pglite', url: `pglite:${MEMORY}`, prepare: createTestDatabase }],
};
