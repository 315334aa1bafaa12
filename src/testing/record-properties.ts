/** The differential tests: random cases, each answered by a backend as the memory backend answers it. */
import assert from 'node:assert/strict';
import type { FindRequest, RecordBackend, Stored, Write, WriteResult } from '../backends/backend.js';
import { cursorRanges, parseSort, type SortKey } from '../filter/cursor.js';
import { recordField } from '../filter/evaluate.js';
import { normalize } from '../filter/normalize.js';
import { parseFilter, type Scalar } from '../filter/syntax.js';
import { recordArbitraries, Samples, type Sample } from './record-arbitraries.js';
import { contextAt, freshTenant, NOW, openOracle } from './record-target.js';
import type { DrawOptions, PropertyOptions } from './runner.js';

const { schema, domain } = Samples;
const QUERIES_PER_SET = 20;
export const STEPS_PER_HISTORY = 10;

export interface PropertyReport {
  readonly cases: number;
  /** Cases whose answer held at least one record: a suite of empty answers would prove nothing. */
  readonly nonEmpty: number;
}

/** Which of two tenants' records, in which order, from where: compared with the oracle. @throws on the first disagreement. */
export async function compareQueries(backend: RecordBackend, options: DrawOptions): Promise<PropertyReport> {
  const fc = await import('fast-check');
  const arbitraries = recordArbitraries(fc, options.magnitudes);
  const oracle = await openOracle();
  let cases = 0;
  let nonEmpty = 0;
  const query = (samples: readonly Sample[]) =>
    fc.record({
      filter: arbitraries.filter(samples.map(({ value }) => value)),
      sort: arbitraries.sort,
      limit: fc.integer({ min: 1, max: 8 }),
      from: fc.option(fc.nat(24), { nil: undefined }),
    });
  const cases$ = fc
    .array(arbitraries.sample, { maxLength: 25 })
    .chain((samples) =>
      fc.tuple(
        fc.constant(samples),
        fc.array(query(samples), { minLength: QUERIES_PER_SET, maxLength: QUERIES_PER_SET }),
      ),
    );
  await backend.ensure([schema], contextAt(NOW));
  await fc.assert(
    fc.asyncProperty(cases$, async ([samples, queries]) => {
      const tenants = [freshTenant(), freshTenant()];
      const rows = await seed([backend, oracle.backend], tenants, samples);
      for (const { filter, sort, limit, from } of queries) {
        const keys = parseSort(sort, domain);
        const row = from === undefined ? undefined : rows[from % Math.max(rows.length, 1)];
        const request: FindRequest = {
          collection: schema,
          filter: normalize(parseFilter(filter, domain)),
          sort: keys,
          limit,
          ...(row === undefined ? {} : { ranges: cursorRanges(keys, cursorValues(row, keys)) }),
        };
        const scope = { tenant: tenants[0]! };
        const expected = await oracle.backend.find(scope, request, contextAt(NOW));
        assert.deepEqual(plain(await backend.find(scope, request, contextAt(NOW))), plain(expected), 'find');
        const count = await oracle.backend.count(scope, request, contextAt(NOW));
        assert.equal(await backend.count(scope, request, contextAt(NOW)), count, 'count');
        cases++;
        if (count > 0) nonEmpty++;
      }
    }),
    { numRuns: Math.ceil((options.cases ?? 2_000) / QUERIES_PER_SET), ...seedOf(options) },
  );
  await oracle.close();
  return { cases, nonEmpty };
}

/** Histories of writes: single ones, batches, patches, expiry; every result and every state compared with the oracle. */
export async function compareWrites(backend: RecordBackend, options: DrawOptions): Promise<PropertyReport> {
  const fc = await import('fast-check');
  const arbitraries = recordArbitraries(fc, options.magnitudes);
  const oracle = await openOracle();
  let cases = 0;
  let nonEmpty = 0;
  const version = fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined });
  const expiresIn = fc.option(fc.constantFrom(500, 1_500, 60_000), { nil: undefined });
  const write = fc.record({
    kind: fc.constantFrom('insert', 'put', 'replace', 'patch', 'patch', 'patch', 'delete'),
    id: fc.constantFrom('a', 'b', 'c'),
    sample: arbitraries.sample,
    ifVersion: version,
    expiresIn,
    changes: arbitraries.changes,
    condition: fc.option(arbitraries.filter([]), { nil: undefined, freq: 3 }),
    orInsert: fc.boolean(),
  });
  // What an ordered batch leaves behind is no oracle's matter: there every write stands alone.
  const maxLength = backend.capabilities.batch === 'atomic' ? 3 : 1;
  const step = fc.record({
    advance: fc.constantFrom(0, 400, 1_000),
    writes: fc.uniqueArray(write, { minLength: 1, maxLength, selector: ({ id }) => id }),
  });
  await backend.ensure([schema], contextAt(NOW));
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: STEPS_PER_HISTORY, maxLength: STEPS_PER_HISTORY }), async (steps) => {
      const scope = { tenant: freshTenant() };
      const keys = ['a', 'b', 'c'].map((id) => ({ collection: schema, id }));
      let now = NOW;
      for (const { advance, writes } of steps) {
        now = new Date(now.getTime() + advance);
        const batch = writes.map((w) => toWrite(w, now));
        const expected = await oracle.backend.write(scope, batch, contextAt(now));
        const actual = await backend.write(scope, batch, contextAt(now));
        assert.deepEqual(plainResults(actual), plainResults(expected), JSON.stringify(batch));
        const state = await oracle.backend.read(scope, keys, contextAt(now));
        assert.deepEqual(plain(await backend.read(scope, keys, contextAt(now))), plain(state), 'the state after');
        cases++;
        if (expected.some(({ status }) => ['written', 'patched', 'deleted'].includes(status))) nonEmpty++;
      }
    }),
    { numRuns: Math.ceil((options.cases ?? 2_000) / STEPS_PER_HISTORY), ...seedOf(options) },
  );
  await oracle.close();
  return { cases, nonEmpty };
}

interface RandomWrite {
  readonly kind: string;
  readonly id: string;
  readonly sample: Sample;
  readonly ifVersion: number | undefined;
  readonly expiresIn: number | undefined;
  readonly changes: object;
  readonly condition: Record<string, unknown> | undefined;
  readonly orInsert: boolean;
}

function toWrite(random: RandomWrite, now: Date): Write {
  const { kind, id, sample, ifVersion, condition } = random;
  const expiresAt = random.expiresIn === undefined ? {} : { expiresAt: new Date(now.getTime() + random.expiresIn) };
  const ifVersioned = ifVersion === undefined ? {} : { ifVersion };
  const key = { collection: schema, id };
  switch (kind) {
    case 'insert':
    case 'put':
      return { ...key, kind, value: sample.value, ...expiresAt };
    case 'replace':
      return { ...key, kind, value: sample.value, ...ifVersioned, ...expiresAt };
    case 'delete':
      return { ...key, kind, ...ifVersioned };
    default: {
      const either = random.orInsert ? { orInsert: sample.value } : ifVersioned;
      const filtered = condition === undefined ? {} : { if: normalize(parseFilter(condition, domain)) };
      return { ...key, kind: 'patch', changes: random.changes, ...filtered, ...either, ...expiresAt };
    }
  }
}

/** The same records in every backend, divided over the tenants; gives those of the first, as the first backend reads them. */
async function seed(
  backends: readonly RecordBackend[],
  tenants: readonly string[],
  samples: readonly Sample[],
): Promise<Stored[]> {
  for (const backend of backends)
    for (const [t, tenant] of tenants.entries()) {
      const writes = samples
        .map((sample, i) => ({ sample, i }))
        .filter(({ i }) => i % 4 !== 3 || t === 1)
        .map(({ sample, i }): Write => {
          const base = { collection: schema, id: `r${i}`, kind: 'insert', value: sample.value } as const;
          const dated = { ...base, createdAt: new Date(NOW.getTime() - (i % 3)) };
          if (sample.expiresIn === undefined) return dated;
          return { ...dated, expiresAt: new Date(NOW.getTime() + sample.expiresIn) };
        });
      // Written before they expire.
      const earlier = contextAt(new Date(NOW.getTime() - 120_000));
      if (writes.length > 0) await backend.write({ tenant }, writes, earlier);
    }
  const keys = samples.map((_, i) => ({ collection: schema, id: `r${i}` }));
  const rows = await backends[0]!.read({ tenant: tenants[0]! }, keys, contextAt(NOW));
  return rows.filter((row) => row !== undefined);
}

function cursorValues(row: Stored, keys: readonly SortKey[]): Scalar[] {
  return keys.map((key) => (recordField(row, key) ?? null) as Scalar);
}

export function seedOf(options: PropertyOptions): { seed: number } | Record<string, never> {
  return options.seed === undefined ? {} : { seed: options.seed };
}

/** Dates as text, so that a difference is readable; properties that are absent stay so. */
export function plain(rows: readonly (Stored | undefined)[]): unknown {
  return rows.map((row) => (row === undefined ? null : (JSON.parse(JSON.stringify(row)) as unknown)));
}

export function plainResults(results: readonly WriteResult[]): unknown {
  return results.map((result) => JSON.parse(JSON.stringify(result)) as unknown);
}
