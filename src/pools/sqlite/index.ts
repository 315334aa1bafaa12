/** `sqlite:`: a database in one file, or in memory. */
import { realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { PoolDriver, SqliteDialectPool } from '../pool.js';
import type { SqliteOptions } from './database.js';
import { ENGINES } from './engine.js';
import { SqlitePool } from './pool.js';

const MEMORY = ':memory:';
const DEFAULTS = { engine: 'auto', synchronous: 'normal', acquireTimeout: 5_000 } as const;

function location(url: string): string {
  return url.slice(url.indexOf(':') + 1);
}

/** One name for a file under all its names, whether it is there yet or not. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : join(realPath(parent), basename(path));
  }
}

export const sqlite: PoolDriver<SqliteDialectPool> = {
  name: 'sqlite',
  schemes: ['sqlite'],
  backend: 'sql',
  settings: {
    engine: {
      doc:
        'The SQLite library. auto takes the first of them that can be loaded. Statements run inside the process, each in ' +
        'one turn of the event loop: a long scan holds up everything else.',
      format: ['auto', ...ENGINES],
      default: DEFAULTS.engine,
    },
    synchronous: {
      doc: 'What a commit waits for. With normal a power failure may cost the last commits, and never the file; full waits for the disk.',
      format: ['off', 'normal', 'full', 'extra'],
      default: DEFAULTS.synchronous,
    },
    acquireTimeout: {
      doc: 'How long an operation waits for the only connection, in milliseconds, before it fails with UNAVAILABLE.',
      format: 'milliseconds',
      default: DEFAULTS.acquireTimeout,
    },
  },
  checkUrl(url) {
    const path = location(url);
    if (path === '') return 'a file or :memory: must follow sqlite:';
    if (path.includes('\0')) return 'the file name contains a NUL character';
    if (path.startsWith('//')) return 'a file is written sqlite:./file.db or sqlite:/file.db, without //';
    if (/^memory:?$/.test(path))
      return 'a database in memory is written sqlite::memory:, and a file of that name sqlite:./memory';
    if (path.startsWith(':') && path !== MEMORY) return 'the only name between colons is :memory:';
    if (path.includes('?')) return 'options stand in the settings beside the URL, not behind a ?';
    if (/[/\\]$/.test(path)) return 'the path ends like a directory; it must name a file';
    return undefined;
  },
  key(url, _options, name) {
    const path = location(url);
    return path === MEMORY ? `sqlite::memory:${name}` : `sqlite:${realPath(resolve(path))}`;
  },
  create(url, options, environment) {
    const path = location(url);
    const { acquireTimeout, engine, synchronous } = { ...DEFAULTS, ...options } as SqliteOptions & {
      acquireTimeout: number;
    };
    return new SqlitePool(
      path === MEMORY ? undefined : resolve(path),
      { engine, synchronous },
      acquireTimeout,
      environment,
    );
  },
  tests: [{ name: 'sqlite', url: `sqlite:${MEMORY}` }],
};
