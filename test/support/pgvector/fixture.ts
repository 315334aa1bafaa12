/** The pgvector provider on PGlite in memory, and short forms of what its tests give it. */
import { systemClock } from '../../../src/clock.js';
import type { OperationContext } from '../../../src/component.js';
import { pushDown } from '../../../src/filter/normalize.js';
import type { FieldReference, FilterNode } from '../../../src/filter/syntax.js';
import { pglite } from '../../../src/pools/pglite/index.js';
import type { SqlPool } from '../../../src/pools/pool.js';
import { tableName } from '../../../src/vectors/pgvector/table.js';
import { pgvector } from '../../../src/vectors/pgvector.js';
import type {
  CompiledFilter,
  FlatMetadata,
  StoredVector,
  VectorProvider,
  VectorSchema,
  VectorScope,
  VectorSearch,
} from '../../../src/vectors/provider.js';
import { PGLITE_IN_MEMORY } from '../pglite-memory.js';

export const A: VectorScope = { tenant: 'a', namespace: '' };
export const everything = { vector: true, metadata: true, text: true };
export const nothing = { vector: false, metadata: false, text: false };
const opening = { clock: systemClock, signal: new AbortController().signal };

export function context(more: Partial<OperationContext> = {}): OperationContext {
  return { now: systemClock.now(), deadline: systemClock.monotonic() + 60_000, ...more };
}

export function schemaOf(name: string, dimension: number, more: Partial<VectorSchema> = {}): VectorSchema {
  return { name, dimension, metric: 'cosine', fields: {}, index: { kind: 'hnsw' }, ...more };
}

export function record(
  id: string,
  vector: readonly number[],
  metadata: FlatMetadata = {},
  text?: string,
): StoredVector {
  return { id, vector: Float32Array.from(vector), metadata, ...(text === undefined ? {} : { text }) };
}

export function searchFor(vector: ArrayLike<number>, topK: number, more: Partial<VectorSearch> = {}): VectorSearch {
  const base = { exact: false, include: nothing, consistency: 'eventual' } as const;
  return { vector: Float32Array.from(vector), topK, ...base, ...more };
}

export function compiled(tree: FilterNode): CompiledFilter {
  return { tree, pushed: pushDown(tree) };
}

export function field(key: string): FieldReference {
  return { source: 'value', path: key.split('.') };
}

export function equal(key: string, value: string | number | boolean): CompiledFilter {
  return compiled({ op: 'eq', field: field(key), value });
}

export interface Opened {
  readonly pool: SqlPool;
  readonly provider: VectorProvider;
  close(): Promise<void>;
}

export function providerOn(pool: SqlPool, efSearch = 100): VectorProvider {
  return pgvector.create({ efSearch }, { clock: systemClock, name: 'vectors:pgvector', pool });
}

export interface Statement {
  readonly text: string;
  readonly plan: string;
}

/** The table of a collection, with its schema and in quotes. */
export async function tableOf(provider: VectorProvider, name: string): Promise<string> {
  return tableName((await provider.describeCollection(name, context()))!);
}

/** A pool whose statements are explained before they run, each apart from what is prepared under its name, and told to `seen`. */
export function explaining(pool: SqlPool, seen: (statement: Statement) => void, explain = 'EXPLAIN'): SqlPool {
  const query: SqlPool['query'] = async (text, parameters, inside, options) => {
    const { rows } = await pool.query(`${explain} ${text}`, parameters, inside);
    seen({ text, plan: rows.map((row) => row['QUERY PLAN']).join('\n') });
    return pool.query(text, parameters, inside, options);
  };
  return new Proxy(pool, {
    get(target, name) {
      if (name === 'query') return query;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

export async function openProvider(): Promise<Opened> {
  const pool = pglite.create(PGLITE_IN_MEMORY, { acquireTimeout: 60_000 }, { clock: systemClock, name: 'main' });
  await pool.open(opening);
  const provider = providerOn(pool);
  await provider.open(opening);
  return { pool, provider, close: () => pool.close(systemClock.monotonic() + 5_000) };
}
