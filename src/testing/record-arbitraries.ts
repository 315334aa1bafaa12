/** Random records, filters, sorts and patches, drawn to meet each other and to hit what databases disagree about. */
import type * as FastCheck from 'fast-check';
import type { Magnitudes } from '../component.js';
import type { JsonObject, JsonValue, PatchChanges } from '../backends/backend.js';
import { defineCollection } from '../collection/definition.js';

type FC = typeof FastCheck;
type Arbitrary<T> = FastCheck.Arbitrary<T>;

/** One declared field of each type, one of them nested, one searched by `$text`. */
export const Samples = defineCollection<Record<string, unknown>>({
  name: 'test_samples',
  fields: { s: 'string', n: 'number', b: 'boolean', d: 'date', 'o.p': 'number' },
  indexes: [{ keys: ['s', 'n'] }, { keys: [['n', 'desc'], 'createdAt'] }, { keys: ['d'], scope: 'all' }],
  text: ['t'],
  id: 'given',
});

const STRINGS = [
  '',
  'a',
  'A',
  'B',
  'b',
  'ab',
  'é',
  'É',
  '😀',
  '\uffff',
  '\ue000',
  'a b',
  '%',
  '_',
  '\\',
  "'",
  '"',
  'null',
];
const MORE_STRINGS = [
  '5',
  '[1]',
  '{"b":1}',
  'true',
  '$x',
  'z'.repeat(40),
  'Hello World',
  'hello',
  '2026-01-01T00:00:00.000Z',
];
const NUMBERS = [0, 1, -1, 2, 1.5, 5, 10, 2 ** 53, 2 ** 53 + 2, 2 ** 60 + 256, 0.3112906610273454, 0.31129066102734543];
const MORE_NUMBERS = [1e-7, 1e21, -1e21, Number.MAX_VALUE, -Number.MAX_VALUE, 5e-324, 0.1, 0.30000000000000004];
const DATES = [
  '0000-01-01T00:00:00.000Z',
  '2026-03-04T05:06:07.008Z',
  '2026-03-04T05:06:07.009Z',
  '9999-12-31T23:59:59.999Z',
];
const ODD_KEYS = ['constructor', 'toString', '_bsontype', '$ref', '~x', '', 'a.b', '0', 'é', 'x', 'y', "q'q", 'sp ace'];
const PATHS = [
  's',
  'n',
  'b',
  'd',
  'o.p',
  'o',
  'o.q',
  'x',
  'y',
  'x.y',
  'a.0',
  '0',
  'constructor',
  'toString',
  '_bsontype',
  'é',
  "q'q",
  't',
];
const WORDS = ['hello', 'world', 'Straße', 'naïve', 'x1', 'über', 'mañana'];

/** A record of the property tests, before it has an id. */
export interface Sample {
  readonly value: JsonObject;
  /** Milliseconds from now; absent: never. */
  readonly expiresIn?: number;
}

export interface RecordArbitraries {
  readonly string: Arbitrary<string>;
  readonly number: Arbitrary<number>;
  readonly json: Arbitrary<JsonValue>;
  readonly sample: Arbitrary<Sample>;
  /** A filter as a host writes it; operands are drawn from `values` two times in three. */
  filter(values: readonly JsonObject[]): Arbitrary<Record<string, unknown>>;
  readonly sort: Arbitrary<Record<string, 'asc' | 'desc'>>;
  readonly changes: Arbitrary<PatchChanges>;
}

export function recordArbitraries(fc: FC, magnitudes?: Magnitudes): RecordArbitraries {
  const { least = 0, most = Infinity } = magnitudes ?? {};
  const isOrdered = (x: number): boolean => x === 0 || (Math.abs(x) >= least && Math.abs(x) <= most);
  const string = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...STRINGS, ...MORE_STRINGS) },
    { weight: 1, arbitrary: fc.string({ unit: 'grapheme', maxLength: 12 }).filter(isStorable) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 6 }).filter(isStorable) },
  );
  const double = fc
    .double({ noNaN: true, noDefaultInfinity: true, ...(magnitudes === undefined ? {} : { min: -most, max: most }) })
    .map((x) => (x === 0 ? 0 : x))
    .filter(isOrdered);
  const number = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...[...NUMBERS, ...MORE_NUMBERS].filter(isOrdered)) },
    { weight: 1, arbitrary: double },
    { weight: 1, arbitrary: fc.integer({ min: -5, max: 5 }) },
  );
  const date = fc.constantFrom(...DATES);
  const scalar: Arbitrary<JsonValue> = fc.oneof(fc.constant(null), fc.boolean(), number, string, date);
  const json: Arbitrary<JsonValue> = fc.letrec<{ value: JsonValue }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 3, withCrossShrink: true },
      { weight: 4, arbitrary: scalar },
      { weight: 1, arbitrary: fc.array(tie('value'), { maxLength: 3 }) },
      {
        weight: 1,
        arbitrary: fc.dictionary(fc.constantFrom(...ODD_KEYS, 'b'), tie('value'), {
          maxKeys: 3,
          noNullPrototype: true,
        }),
      },
    ),
  })).value;
  const nullable = <V>(arbitrary: Arbitrary<V>): Arbitrary<V | null> =>
    fc.oneof({ weight: 1, arbitrary: fc.constant(null) }, { weight: 4, arbitrary });
  const text = fc.array(fc.constantFrom(...WORDS), { maxLength: 4 }).map((words) => words.join(' '));
  const declared = fc.record(
    { s: nullable(string), n: nullable(number), b: nullable(fc.boolean()), d: nullable(date), t: fc.oneof(text, json) },
    { requiredKeys: [], noNullPrototype: true },
  );
  const nested = fc.option(
    fc.oneof(fc.record({ p: nullable(number), q: json }, { requiredKeys: [], noNullPrototype: true }), scalar),
    { nil: undefined },
  );
  const odd = fc.dictionary(fc.constantFrom(...ODD_KEYS), json, { maxKeys: 4, noNullPrototype: true });
  const value = fc.tuple(declared, nested, odd).map(([a, o, b]) => ({ ...b, ...a, ...(o === undefined ? {} : { o }) }));
  const expiresIn = fc.option(fc.constantFrom(-60_000, -1, 0, 1, 60_000), { nil: undefined, freq: 3 });
  const sample = fc
    .tuple(value, expiresIn)
    .map(([v, e]): Sample => (e === undefined ? { value: v } : { value: v, expiresIn: e }));

  const sort = fc
    .uniqueArray(
      fc.tuple(
        fc.constantFrom('s', 'n', 'b', 'd', 'o.p', 'id', 'version', 'createdAt', 'expiresAt'),
        fc.constantFrom<'asc' | 'desc'>('asc', 'desc'),
      ),
      { maxLength: 3, selector: ([field]) => field },
    )
    .map((keys) => Object.fromEntries(keys));

  return {
    string,
    number,
    json,
    sample,
    sort,
    changes: changesArbitrary(fc, json, number),
    filter: filterArbitrary(fc, scalar, Math.min(most, 1e300)),
  };
}

function isStorable(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0');
}

function filterArbitrary(fc: FC, scalar: Arbitrary<JsonValue>, largest: number) {
  return (values: readonly JsonObject[]): Arbitrary<Record<string, unknown>> => {
    const seen = values.flatMap(scalarsIn);
    const drawn: Arbitrary<JsonValue> =
      seen.length === 0
        ? scalar
        : fc.oneof({ weight: 2, arbitrary: fc.constantFrom(...seen) }, { weight: 1, arbitrary: scalar });
    const path = fc.constantFrom(...PATHS);
    const ofType = (field: string, operand: JsonValue): unknown =>
      field === 'd'
        ? operand === null
          ? null
          : new Date(DATES[JSON.stringify(operand).length % DATES.length]!)
        : operand;
    const comparable = drawn.filter((v) => typeof v === 'string' || typeof v === 'number');
    const leaf = fc.oneof(
      fc.tuple(path, drawn).map(([p, v]) => ({ [p]: ofType(p, v) })),
      fc.tuple(path, fc.constantFrom('$eq', '$ne'), drawn).map(([p, op, v]) => ({ [p]: { [op]: ofType(p, v) } })),
      fc
        .tuple(path, fc.constantFrom('$gt', '$gte', '$lt', '$lte'), comparable)
        .map(([p, op, v]) => ({ [p]: { [op]: ofType(p, v) } })),
      fc
        .tuple(path, fc.constantFrom('$in', '$nin'), fc.array(drawn, { maxLength: 4 }))
        .map(([p, op, list]) => ({ [p]: { [op]: list.map((v) => ofType(p, v)) } })),
      fc.tuple(path, fc.boolean()).map(([p, v]) => ({ [p]: { $exists: v } })),
      fc.tuple(path, drawn).map(([p, v]) => ({ [p]: { $contains: v } })),
      fc
        .tuple(
          path,
          fc.constantFrom('$startsWith', '$icontains'),
          drawn.filter((v) => typeof v === 'string'),
        )
        .map(([p, op, v]) => ({ [p]: { [op]: [...v].slice(0, 3).join('') } })),
      fc
        .array(fc.constantFrom(...WORDS, 'nowhere', '!'), { maxLength: 2 })
        .map((words) => ({ $text: words.join(' ') })),
      envelopeLeaf(fc, largest),
    );
    return fc.letrec<{ filter: Record<string, unknown> }>((tie) => ({
      filter: fc.oneof(
        { maxDepth: 3, withCrossShrink: true },
        { weight: 4, arbitrary: leaf },
        { weight: 1, arbitrary: fc.array(tie('filter'), { maxLength: 3 }).map(($and) => ({ $and })) },
        { weight: 1, arbitrary: fc.array(tie('filter'), { maxLength: 3 }).map(($or) => ({ $or })) },
        { weight: 1, arbitrary: tie('filter').map(($not) => ({ $not })) },
        { weight: 1, arbitrary: fc.tuple(tie('filter'), tie('filter')).map(([a, b]) => ({ ...a, ...b })) },
      ),
    })).filter;
  };
}

function envelopeLeaf(fc: FC, largest: number): Arbitrary<Record<string, unknown>> {
  const operator = fc.constantFrom('$eq', '$ne', '$gt', '$gte', '$lt', '$lte');
  const time = fc
    .constantFrom(-60_000, -1, 0, 1, 60_000)
    .map((offset) => new Date(Date.UTC(2026, 2, 4, 5, 6, 7, 8) + offset));
  return fc.oneof(
    fc.tuple(operator, fc.constantFrom('r0', 'r1', 'r10', 'R', '')).map(([op, v]) => ({ id: { [op]: v } })),
    fc.tuple(operator, fc.constantFrom(0, 1, 1.5, 2, largest)).map(([op, v]) => ({ version: { [op]: v } })),
    fc
      .tuple(fc.constantFrom('createdAt', 'updatedAt', 'expiresAt'), operator, time)
      .map(([field, op, v]) => ({ [field]: { [op]: v } })),
    fc.tuple(fc.constantFrom('expiresAt', 'id'), fc.boolean()).map(([field, v]) => ({ [field]: { $exists: v } })),
    fc.constantFrom({ expiresAt: null }, { expiresAt: { $ne: null } }, { id: { $in: ['r1', 'r2', 'nobody'] } }),
  );
}

/** Changes at few paths, so that they meet objects, arrays, scalars and nothing; none reaches the text path. */
function changesArbitrary(fc: FC, json: Arbitrary<JsonValue>, number: Arbitrary<number>): Arbitrary<PatchChanges> {
  const free = fc.constantFrom('x', 'x.y', 'x.y.0', 'y', 'o.q', 'o.q.r', '0', "q'q", 'constructor.b', 'é', 'sp ace.z');
  return fc
    .uniqueArray(
      fc.oneof(
        fc.tuple(fc.constant('set' as const), free, json),
        fc.tuple(fc.constant('set' as const), fc.constantFrom('n', 'o.p'), fc.oneof(number, fc.constant(null))),
        fc.tuple(
          fc.constant('unset' as const),
          fc.oneof(free, fc.constantFrom('s', 'n', 'o', 'o.p')),
          fc.constant(null),
        ),
        fc.tuple(fc.constant('increment' as const), fc.oneof(free, fc.constantFrom('n', 'o.p')), number),
        fc.tuple(fc.constant('push' as const), free, json),
      ),
      { minLength: 1, maxLength: 4, selector: ([, path]) => path },
    )
    .filter((steps) => !steps.some(([, a]) => steps.some(([, b]) => b.startsWith(`${a}.`))))
    .map((steps) => {
      const of = (kind: string): [string, JsonValue][] =>
        steps.filter(([op]) => op === kind).map(([, path, v]) => [path, v]);
      return {
        set: Object.fromEntries(of('set')),
        unset: of('unset').map(([path]) => path),
        increment: Object.fromEntries(of('increment')) as Record<string, number>,
        push: Object.fromEntries(of('push')),
      };
    });
}

function scalarsIn(value: JsonValue): JsonValue[] {
  if (Array.isArray(value)) return (value as readonly JsonValue[]).flatMap(scalarsIn);
  if (typeof value === 'object' && value !== null) return Object.values(value).flatMap(scalarsIn);
  return [value];
}
