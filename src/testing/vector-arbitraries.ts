/** Random metadata and filters, drawn to meet each other and to hit what vector databases disagree about. */
import type * as FastCheck from 'fast-check';
import type { Metadata, MetadataValue } from '../vectors/vector-store.js';

type FC = typeof FastCheck;
type Arbitrary<T> = FastCheck.Arbitrary<T>;

export const FIELDS = {
  s: 'string',
  n: 'number',
  b: 'boolean',
  d: 'date',
  tags: 'string[]',
  'loc.from': 'number',
} as const;

const STRINGS = [
  '',
  'a',
  'A',
  'B',
  'ab',
  'é',
  '😀',
  '\uffff',
  '\ue000',
  '%',
  '_',
  '\\',
  "'",
  '"',
  '5',
  'true',
  'null',
  '[]',
  '$x',
];
/** Within 15 digits, which every provider keeps. */
const NUMBERS = [0, 1, -1, 2, 1.5, -1.5, 1.6, 0.5, 5, 10, 0.1, 1e-7, 123456.789, 0.123456789012345];
const EXTREMES = [9007199254740991, -9007199254740991, 2 ** 52];
const DATES = [0, 1, -1, 1_700_000_000_000, -62_167_219_200_000];
const PATHS = [
  's',
  'n',
  'b',
  'd',
  'tags',
  'loc.from',
  'loc',
  'x',
  'y',
  'x.y',
  'constructor',
  'toString',
  'tenant',
  'id',
  'é',
  'missing',
];
const FREE_KEYS = ['x', 'y', 'constructor', 'toString', 'tenant', 'id', 'é', "q'q"];

export interface VectorArbitraries {
  readonly vector: Arbitrary<number[]>;
  readonly metadata: Arbitrary<Metadata>;
  /** A filter as a host writes it; operands are drawn from `values` two times in three. */
  filter(values: readonly Metadata[]): Arbitrary<Record<string, unknown>>;
}

export function vectorArbitraries(fc: FC, dimension: number): VectorArbitraries {
  const string = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...STRINGS) },
    {
      weight: 1,
      arbitrary: fc
        .string({ unit: 'grapheme', maxLength: 8 })
        .filter((text) => text.isWellFormed() && !text.includes('\0')),
    },
  );
  const number = fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom(...NUMBERS, ...EXTREMES) },
    { weight: 1, arbitrary: fc.integer({ min: -5, max: 5 }) },
    { weight: 1, arbitrary: fc.integer({ min: -9_999, max: 9_999 }).map((n) => n / 1_000 + 0) },
  );
  const date = fc.constantFrom(...DATES).map((time) => new Date(time));
  const tags = fc.array(string, { maxLength: 3 });
  const leaf: Arbitrary<MetadataValue> = fc.oneof(string, number, fc.boolean(), tags);
  const declared = fc.record(
    { s: string, n: number, b: fc.boolean(), d: date, tags },
    { requiredKeys: [], noNullPrototype: true },
  );
  const location = fc.option(fc.record({ from: number, to: leaf }, { requiredKeys: ['to'], noNullPrototype: true }), {
    nil: undefined,
  });
  const free = fc.dictionary(
    fc.constantFrom(...FREE_KEYS),
    fc.oneof({ weight: 3, arbitrary: leaf }, { weight: 1, arbitrary: leaf.map((y): Metadata => ({ y })) }),
    { maxKeys: 3, noNullPrototype: true },
  );
  const metadata = fc
    .tuple(free, declared, location)
    .map(([odd, own, loc]): Metadata => ({ ...odd, ...own, ...(loc === undefined ? {} : { loc: loc }) }));
  const component = fc.integer({ min: -8, max: 8 }).map((n) => n / 4);
  const vector = fc
    .array(component, { minLength: dimension, maxLength: dimension })
    .map((vector) => (vector.every((x) => x === 0) ? vector.map(() => 1) : vector));
  return { vector, metadata, filter: filterArbitrary(fc, fc.oneof(string, number, fc.boolean()), date) };
}

type Scalar = string | number | boolean;

function filterArbitrary(fc: FC, scalar: Arbitrary<Scalar>, date: Arbitrary<Date>) {
  return (values: readonly Metadata[]): Arbitrary<Record<string, unknown>> => {
    const seen = values.flatMap(scalarsIn);
    const drawn: Arbitrary<Scalar> =
      seen.length === 0
        ? scalar
        : fc.oneof({ weight: 2, arbitrary: fc.constantFrom(...seen) }, { weight: 1, arbitrary: scalar });
    const range = fc.constantFrom('$gt', '$gte', '$lt', '$lte');
    const comparable = drawn.filter((value) => typeof value !== 'boolean');
    const operators = (operand: Arbitrary<unknown>, bound: Arbitrary<unknown>): Arbitrary<Record<string, unknown>> =>
      fc.oneof(
        fc.tuple(fc.constantFrom('$eq', '$ne'), operand).map(([op, v]) => ({ [op]: v })),
        fc.tuple(range, bound).map(([op, v]) => ({ [op]: v })),
        fc.tuple(range, bound, range, bound).map(([a, v, b, w]) => ({ [a]: v, [b]: w })),
        fc
          .tuple(fc.constantFrom('$in', '$nin'), fc.array(operand, { maxLength: 4 }))
          .map(([op, list]) => ({ [op]: list })),
        fc.boolean().map(($exists) => ({ $exists })),
        fc.tuple(range, bound).map(([op, v]) => ({ $not: { [op]: v } })),
        drawn.map((value) => ({ $contains: String(value) })),
        drawn.map((value) => ({ $not: { $contains: String(value) } })),
      );
    const condition = fc.constantFrom(...PATHS).chain((path) => {
      const dated = path === 'd';
      const operand: Arbitrary<unknown> = dated ? date : drawn;
      const bound: Arbitrary<unknown> = dated ? date : comparable;
      return fc.oneof(operand, operators(operand, bound)).map((value) => ({ [path]: value }));
    });
    return fc.letrec<{ filter: Record<string, unknown> }>((tie) => ({
      filter: fc.oneof(
        { maxDepth: 3, withCrossShrink: true },
        { weight: 4, arbitrary: condition },
        { weight: 1, arbitrary: fc.array(tie('filter'), { maxLength: 3 }).map(($and) => ({ $and })) },
        { weight: 1, arbitrary: fc.array(tie('filter'), { maxLength: 3 }).map(($or) => ({ $or })) },
        { weight: 1, arbitrary: tie('filter').map(($not) => ({ $not })) },
        { weight: 1, arbitrary: fc.tuple(tie('filter'), tie('filter')).map(([a, b]) => ({ ...a, ...b })) },
      ),
    })).filter;
  };
}

function scalarsIn(value: MetadataValue): Scalar[] {
  if (typeof value !== 'object') return [value];
  if (value instanceof Date) return [];
  return Object.values(value).flatMap((item) => scalarsIn(item));
}
