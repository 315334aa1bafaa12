/** Pools and backends over the servers of the tests, each file with a database of its own. */
import { describe } from '@jest/globals';
import type { MongoClient } from 'mongodb';
import { mongo as mongoBackend } from '../../../src/backends/mongo/index.js';
import type { RecordBackend, Write } from '../../../src/backends/backend.js';
import { systemClock as clock, type Clock } from '../../../src/clock.js';
import type { OperationContext } from '../../../src/component.js';
import { mongo } from '../../../src/pools/mongo/index.js';
import type { MongoPool } from '../../../src/pools/mongo/pool.js';
import { createTestDatabase } from '../../../src/pools/mongo/test-database.js';
import type { RecordSchema } from '../../../src/backends/backend.js';

export const SERVERS = {
  /** A replica set. */
  mongo: { variable: 'TEST_MONGO_URL', url: process.env['TEST_MONGO_URL'] ?? '' },
  /** Without transactions. */
  ferretdb: { variable: 'TEST_FERRETDB_URL', url: process.env['TEST_FERRETDB_URL'] ?? '' },
} as const;

export type ServerName = keyof typeof SERVERS;

/** Tests that need a server: without one they are skipped, by a name that says what they wait for. */
export function describeServer(server: ServerName, name: string, tests: () => void): void {
  const { url, variable } = SERVERS[server];
  if (url === '') describe.skip(`${name} (waits for a server in ${variable})`, tests);
  else describe(`${name} (${server})`, tests);
}

/** The context of an operation with a minute's time, unless said otherwise. */
export function context(more: Partial<OperationContext> & { timeout?: number } = {}): OperationContext {
  const { timeout = 60_000, ...rest } = more;
  return { now: clock.now(), deadline: clock.monotonic() + timeout, ...rest };
}

export const openContext = (signal = new AbortController().signal) => ({ clock, signal });

/** Opens pools on one database, and closes them all. */
export class Fixture {
  private readonly pools = new Set<MongoPool>();

  private constructor(
    readonly url: string,
    private readonly dropDatabase: () => Promise<void>,
  ) {}

  static async open(server: ServerName): Promise<Fixture> {
    const { url, drop } = await createTestDatabase(SERVERS[server].url);
    return new Fixture(url, drop);
  }

  /** A pool that is not open yet. */
  make(settings: Record<string, unknown> = {}, url = this.url, poolClock: Clock = clock): MongoPool {
    const pool = mongo.create(url, settings, { clock: poolClock, name: 'main' });
    this.pools.add(pool);
    return pool;
  }

  async pool(settings: Record<string, unknown> = {}, url = this.url, poolClock: Clock = clock): Promise<MongoPool> {
    const pool = this.make(settings, url, poolClock);
    await pool.open({ clock: poolClock, signal: new AbortController().signal });
    return pool;
  }

  async close(): Promise<void> {
    await Promise.all([...this.pools].map((pool) => pool.close(clock.monotonic() + 500)));
    await this.dropDatabase();
  }
}

export function backendOn(pool: MongoPool): RecordBackend {
  return mongoBackend.create(pool, 'records:main');
}

export function clientOf(pool: MongoPool): MongoClient {
  return pool.raw.client() as MongoClient;
}

/** The collection as it lies in the database. */
export function stored(pool: MongoPool, url: string, schema: RecordSchema) {
  const database = /\/([^/?]+)(?:\?|$)/.exec(url)![1]!;
  return clientOf(pool).db(database).collection<Record<string, unknown> & { _id: string }>(`qm_${schema.name}`);
}

type Unkeyed = Write extends infer W ? (W extends Write ? Omit<W, 'collection' | 'id'> : never) : never;

export function write(collection: RecordSchema, id: string, rest: Unkeyed): Write {
  return { collection, id, ...rest };
}

/** A promise that a test settles. */
export function gate(): { readonly passed: Promise<void>; readonly open: () => void } {
  let open!: () => void;
  const passed = new Promise<void>((resolve) => (open = resolve));
  return { passed, open };
}

/** Milliseconds until it settled, and the error that it rejected with. */
export async function failure(work: Promise<unknown>): Promise<{ error: unknown; took: number }> {
  const began = performance.now();
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return { error, took: performance.now() - began };
}
