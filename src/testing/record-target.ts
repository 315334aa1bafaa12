/** What the record suites run against, and the collections they run on. */
import { systemClock, type Clock } from '../clock.js';
import type { CallOptions, Magnitudes, OperationContext, Session } from '../component.js';
import type { RecordBackend, RecordSchema } from '../backends/backend.js';
import { Collection } from '../collection/collection.js';
import type { CollectionDefinition } from '../collection/definition.js';
import { memory as memoryBackend } from '../backends/memory.js';
import { memory as memoryPool } from '../pools/memory.js';

export interface RecordTarget {
  /** As it appears in the report: `pglite`. */
  readonly name: string;
  /** An open backend over an open pool, another one each time. Tables that are there already are left alone: the suites use tenants of their own. */
  open(): Promise<OpenRecords>;
  /** The numbers that its server orders rightly, by their absolute value; 0 is always one. Absent: all. */
  readonly magnitudes?: Magnitudes | undefined;
  /** Its server goes on refusing a unique key that a change took from its record. Default: false. */
  readonly keepsUniqueKeys?: boolean | undefined;
}

export interface OpenRecords {
  readonly backend: RecordBackend;
  close(): Promise<void>;
}

export const NOW = new Date('2026-03-04T05:06:07.008Z');

/** The context of an operation at `now`, a minute before it must end. */
export function contextAt(now: Date, session?: Session): OperationContext {
  const deadline = systemClock.monotonic() + 60_000;
  return session === undefined ? { now, deadline } : { now, deadline, session };
}

/** A clock whose wall time is said by the test. */
export class WallClock implements Clock {
  constructor(public time: Date) {}
  now(): Date {
    return new Date(this.time);
  }
  monotonic(): number {
    return systemClock.monotonic();
  }
  after(...args: Parameters<Clock['after']>): ReturnType<Clock['after']> {
    return systemClock.after(...args);
  }
}

let tenants = 0;
const run = Math.random().toString(36).slice(2, 8);

/** A tenant that no other test has. */
export function freshTenant(): string {
  return `test-${run}-${++tenants}`;
}

/** A collection for one tenant, over a backend alone. */
export function collectionOn<T>(
  backend: RecordBackend,
  definition: CollectionDefinition<T>,
  tenant: string,
  clock: Clock = systemClock,
  session?: Session,
): Collection<T> {
  const ensured = new Set<string>();
  return new Collection(definition, {
    backend,
    tenant,
    clock,
    begin: (_operation: string, options: CallOptions = {}) => ({
      context: {
        now: clock.now(),
        deadline: clock.monotonic() + (options.timeout ?? 60_000),
        signal: options.signal,
        session,
      },
      end: () => undefined,
    }),
    ensure(schemas: readonly RecordSchema[], context: OperationContext) {
      const missing = schemas.filter(({ name }) => !ensured.has(name));
      // Tables are made outside of transactions: a suite makes them before it begins one.
      if (missing.length === 0 || session !== undefined) return undefined;
      return backend.ensure(missing, context).then(() => {
        for (const { name } of missing) ensured.add(name);
      });
    },
  });
}

/** Saves all: at once where batches are atomic, else one by one. */
export async function saveAll<T>(
  collection: Collection<T>,
  backend: RecordBackend,
  items: readonly { readonly id?: string; readonly value: T }[],
): Promise<void> {
  if (backend.capabilities.batch === 'atomic') await collection.saveMany(items);
  else for (const { value, ...options } of items) await collection.save(value, options);
}

/** The oracle: a memory backend of its own. */
export async function openOracle(seed: number | null = null): Promise<OpenRecords> {
  const pool = memoryPool.create('memory:', { seed }, { clock: systemClock, name: 'oracle' });
  await pool.open();
  const backend = memoryBackend.create(pool, 'records:oracle');
  return { backend, close: () => pool.close() };
}
