/** The differential test: random records and filters, each answered by a provider as the evaluator answers them. */
import assert from 'node:assert/strict';
import { isStorageError } from '../errors.js';
import { compileMetadataFilter, matchesMetadata } from '../vectors/codec/filter.js';
import { encodeMetadata } from '../vectors/codec/metadata.js';
import { scoreOf } from '../vectors/codec/score.js';
import type { FlatMetadata, VectorSchema } from '../vectors/provider.js';
import type { Metadata, VectorStore } from '../vectors/vector-store.js';
import type { PropertyOptions } from './runner.js';
import { FIELDS, vectorArbitraries } from './vector-arbitraries.js';
import { assertScore } from './vector-search.js';
import { rejects, type VectorFixture } from './vector-target.js';

const FILTERS_PER_SET = 20;
const DIMENSION = 4;

export interface VectorPropertyReport {
  readonly cases: number;
  /** Cases whose answer held at least one record: a suite of empty answers would prove nothing. */
  readonly nonEmpty: number;
}

interface Sample {
  readonly id: string;
  readonly vector: Float32Array;
  readonly metadata: FlatMetadata;
}

/** Every filter by search, list and count, and the last one of each set by deletion. @throws on the first disagreement. */
export async function compareFilters(fixture: VectorFixture, options: PropertyOptions): Promise<VectorPropertyReport> {
  const fc = await import('fast-check');
  const arbitraries = vectorArbitraries(fc, DIMENSION);
  const { capabilities } = fixture.provider;
  const collections: VectorSchema[] = [];
  for (const metric of capabilities.metrics) {
    const name = await fixture.collection({ dimension: DIMENSION, metric, fields: FIELDS });
    collections.push(await fixture.store().describeCollection(name));
  }
  let cases = 0;
  let nonEmpty = 0;
  let sets = 0;
  const record = fc.record({ vector: arbitraries.vector, metadata: arbitraries.metadata });
  const set = fc.array(record, { maxLength: 25 }).chain((records) =>
    fc.record({
      records: fc.constant(records),
      query: arbitraries.vector,
      filters: fc.array(arbitraries.filter(records.map(({ metadata }) => metadata)), {
        minLength: FILTERS_PER_SET,
        maxLength: FILTERS_PER_SET,
      }),
    }),
  );
  await fc.assert(
    fc.asyncProperty(set, async ({ records, query, filters }) => {
      const schema = collections[sets++ % collections.length]!;
      const store = fixture.store(`tenant-${sets}`);
      const samples = await seed(store, schema, records);
      await seed(fixture.store(`neighbour-${sets}`), schema, records);
      await fixture.settle();
      for (const [i, filter] of filters.entries()) {
        const expected = expectedOf(filter, schema, samples, capabilities.operators);
        cases++;
        if (expected === 'unsupported') {
          await rejects(store.count(schema.name, filter), 'UNSUPPORTED');
          continue;
        }
        if (expected.length > 0) nonEmpty++;
        await compare(store, schema, filter, expected, query, samples.length);
        if (i === filters.length - 1) await compareDeletion(store, schema, filter, expected, samples, fixture);
      }
    }),
    {
      numRuns: Math.ceil((options.cases ?? 2_000) / FILTERS_PER_SET),
      ...(options.seed === undefined ? {} : { seed: options.seed }),
    },
  );
  return { cases, nonEmpty };
}

async function seed(
  store: VectorStore,
  { name, fields }: VectorSchema,
  records: readonly { vector: number[]; metadata: Metadata }[],
): Promise<Sample[]> {
  const given = records.map(({ vector, metadata }, i) => ({ id: `r${i}`, vector, metadata }));
  await store.upsert(name, given);
  return given.map(({ id, vector, metadata }) => ({
    id,
    vector: Float32Array.from(vector),
    metadata: encodeMetadata(metadata, fields, Infinity).metadata,
  }));
}

function expectedOf(
  filter: unknown,
  schema: VectorSchema,
  samples: readonly Sample[],
  operators: Parameters<typeof compileMetadataFilter>[2],
): readonly Sample[] | 'unsupported' {
  try {
    const folded = compileMetadataFilter(filter, schema, operators);
    if (typeof folded === 'string') return folded === 'all' ? samples : [];
    return samples.filter(({ metadata }) => matchesMetadata(folded.tree, metadata));
  } catch (error) {
    if (isStorageError(error, 'UNSUPPORTED')) return 'unsupported';
    throw error;
  }
}

async function compare(
  store: VectorStore,
  { name, metric }: VectorSchema,
  filter: Record<string, unknown>,
  expected: readonly Sample[],
  query: readonly number[],
  size: number,
): Promise<void> {
  const ids = expected.map(({ id }) => id).sort();
  const hits = await store.search(name, { vector: query, topK: Math.max(1, size), filter });
  assert.deepEqual(hits.map(({ id }) => id).sort(), ids, 'search');
  const vector = Float32Array.from(query);
  for (const { id, score } of hits)
    assertScore(score, scoreOf(metric, expected.find((sample) => sample.id === id)!.vector, vector), id);
  assert.equal(await store.count(name, filter), ids.length, 'count');
  const listed: string[] = [];
  for await (const { id } of store.each(name, { filter, limit: 10 })) listed.push(id);
  assert.deepEqual(listed.sort(), ids, 'list');
}

async function compareDeletion(
  store: VectorStore,
  { name }: VectorSchema,
  filter: Record<string, unknown>,
  expected: readonly Sample[],
  samples: readonly Sample[],
  fixture: VectorFixture,
): Promise<void> {
  try {
    const { deleted } = await store.delete(name, { filter });
    if (deleted !== undefined) assert.equal(deleted, expected.length, 'deleted');
  } catch (error) {
    // A filter that folds to everything.
    if (!isStorageError(error, 'VALIDATION')) throw error;
    return;
  }
  await fixture.settle();
  const left: string[] = [];
  for await (const { id } of store.each(name)) left.push(id);
  const gone = new Set(expected.map(({ id }) => id));
  assert.deepEqual(
    left.sort(),
    samples
      .map(({ id }) => id)
      .filter((id) => !gone.has(id))
      .sort(),
    'left',
  );
}
