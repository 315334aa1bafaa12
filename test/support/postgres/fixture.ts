/** Pools over the server of the tests, each file with a database of its own. */
import { describe } from '@jest/globals';
import { systemClock as clock, type Clock } from '../../../src/clock.js';
import type { RecordBackend, RecordSchema } from '../../../src/backends/backend.js';
import { sql } from '../../../src/backends/sql/index.js';
import type { OperationContext, Session } from '../../../src/component.js';
import { postgres } from '../../../src/pools/postgres/index.js';
import type { SqlPool } from '../../../src/pools/pool.js';
import { createTestDatabase } from '../../../src/pools/postgres/test-database.js';

const VARIABLE = 'TEST_POSTGRES_URL';
export const serverUrl = process.env[VARIABLE] ?? '';

/** Tests that need a server: without one they are skipped, by a name that says what they wait for. */
export const describeServer = (name: string, tests: () => void): void =>
  serverUrl === '' ? describe.skip(`${name} (waits for a server in ${VARIABLE})`, tests) : describe(name, tests);

/** The context of an operation with a minute's time, unless said otherwise. */
export const context = (more: Partial<OperationContext> & { timeout?: number } = {}): OperationContext => {
  const { timeout = 60_000, ...rest } = more;
  return { now: clock.now(), deadline: clock.monotonic() + timeout, ...rest };
};

export const openContext = () => ({ clock, signal: new AbortController().signal });

/** Opens pools on one database, and closes them all. */
export class Fixture {
  private readonly pools = new Set<SqlPool>();

  private constructor(
    readonly url: string,
    private readonly dropDatabase: () => Promise<void>,
  ) {}

  static async open(server = serverUrl): Promise<Fixture> {
    // A server of a test's own is there to be killed.
    const { url, drop } = await createTestDatabase(server, server !== serverUrl);
    return new Fixture(url, drop);
  }

  /** A pool that is not open yet. */
  make(settings: Record<string, unknown> = {}, url = this.url, poolClock: Clock = clock): SqlPool {
    const pool = postgres.create(url, settings, { clock: poolClock, name: 'main' });
    this.pools.add(pool);
    return pool;
  }

  async pool(settings: Record<string, unknown> = {}, url = this.url, poolClock: Clock = clock): Promise<SqlPool> {
    const pool = this.make(settings, url, poolClock);
    await pool.open({ clock: poolClock, signal: new AbortController().signal });
    return pool;
  }

  /** Records on a pool of six, with these tables. */
  async backend(
    collections: readonly RecordSchema[],
  ): Promise<{ readonly pool: SqlPool; readonly backend: RecordBackend }> {
    const pool = await this.pool({ max: 6 });
    const backend = sql.create(pool, 'main');
    await backend.ensure(collections, context());
    return { pool, backend };
  }

  /** Of the connection to the server, through whatever the pool's own connections go through. */
  through(port: number): string {
    const url = new URL(this.url);
    url.hostname = '127.0.0.1';
    url.port = String(port);
    return url.href;
  }

  async closePools(): Promise<void> {
    await Promise.all([...this.pools].map((pool) => pool.close(clock.monotonic() + 1_000)));
    this.pools.clear();
  }

  async close(): Promise<void> {
    await this.closePools();
    await this.dropDatabase();
  }
}

export async function rowsOf(
  pool: SqlPool,
  text: string,
  session?: Session,
): Promise<readonly Record<string, unknown>[]> {
  return (await pool.query(text, [], context({ session }))).rows;
}

export async function backendPid(pool: SqlPool, session?: Session): Promise<number> {
  return (await rowsOf(pool, 'SELECT pg_backend_pid() AS pid', session))[0]!['pid'] as number;
}

/** A promise that a test settles. */
export function gate(): { readonly passed: Promise<void>; readonly open: () => void } {
  let open!: () => void;
  const passed = new Promise<void>((resolve) => (open = resolve));
  return { passed, open };
}

/** Asks until the answer is true. @throws after the limit: a safety net. */
export async function until(ask: () => Promise<boolean> | boolean, limit = 60_000): Promise<void> {
  const end = performance.now() + limit;
  while (!(await ask())) {
    if (performance.now() > end) throw new Error(`It did not come true within ${limit} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
