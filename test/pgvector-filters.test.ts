import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { normalize } from '../src/filter/normalize.js';
import {
  ALL,
  NOTHING,
  type FilterNode,
  type FieldReference,
  type FieldType,
  type RangeOperator,
} from '../src/filter/syntax.js';
import { matchesMetadata } from '../src/vectors/codec/filter.js';
import type { FlatMetadata, StoredVector, VectorFieldType } from '../src/vectors/provider.js';
import {
  compiled,
  context,
  field,
  nothing,
  explaining,
  openProvider,
  providerOn,
  record,
  schemaOf,
  type Opened,
} from './support/pgvector/fixture.js';

const KEYS = ['a', 'n', 's', "q'u", 'd"q', 'b\\s', 'é😀', '0', 'constructor', 'loc.page', '', '$1', 'tenant', 'x y'];
const STRINGS = [
  '',
  'a',
  'A',
  'é',
  '\u{1F600}',
  '\uE000',
  "'",
  '"',
  '\\',
  '1',
  'true',
  'null',
  '[]',
  'x'.repeat(300),
  'x'.repeat(299) + 'w',
];
const NUMBERS = [0, 1, -1, 0.1, 1.5, 0.30000000000000004, 5e-324, 1.7976931348623157e308, 2 ** 53 - 1, -1e-7];

const scalars = fc.oneof(fc.constantFrom(...STRINGS), fc.constantFrom(...NUMBERS), fc.boolean());
const keys = fc.constantFrom(...KEYS);
const leaves = fc.oneof(scalars, fc.array(fc.constantFrom(...STRINGS), { maxLength: 3 }));
const metadatas: fc.Arbitrary<FlatMetadata> = fc.dictionary(keys, leaves, { maxKeys: 9 });
const RANGES: readonly RangeOperator[] = ['gt', 'gte', 'lt', 'lte'];

const leaf: fc.Arbitrary<FilterNode> = fc.oneof(
  fc.record({ op: fc.constant('eq' as const), field: keys.map(typed), value: scalars }),
  fc.record({ op: fc.constant('in' as const), field: keys.map(typed), values: fc.array(scalars, { maxLength: 4 }) }),
  fc.record({ op: fc.constant('exists' as const), field: keys.map(typed) }),
  fc.record({ op: fc.constant('contains' as const), field: keys.map(typed), value: fc.constantFrom(...STRINGS) }),
  fc.record({
    op: fc.constantFrom(...RANGES),
    field: keys.map(typed),
    value: fc.oneof(fc.constantFrom(...STRINGS), fc.constantFrom(...NUMBERS)),
  }),
);
const { tree: trees } = fc.letrec<{ tree: FilterNode }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaf,
    fc.record({ op: fc.constant('not' as const), node: tie('tree') }),
    fc.record({
      op: fc.constantFrom('and' as const, 'or' as const),
      nodes: fc.array(tie('tree'), { minLength: 1, maxLength: 3 }),
    }),
  ),
}));

const TYPES = new Map<string, FieldType>([
  ['n', 'number'],
  ["q'u", 'number'],
  ['b\\s', 'number'],
  ['s', 'string'],
]);

/** With the type of a declared field, as a host's filter gets it; dates are numbers by then. */
function typed(key: string): FieldReference {
  const type = TYPES.get(key);
  return type === undefined ? field(key) : { ...field(key), type };
}

let opened: Opened;
let records: StoredVector[];
const scope = { tenant: 'filters', namespace: '' };
// Declared or not makes no difference to the answer, only to the indexes.
const FIELDS: Record<string, VectorFieldType> = {
  n: 'number',
  "q'u": 'number',
  'b\\s': 'date',
  s: 'string',
  a: 'string[]',
};
const schema = schemaOf('filtered', 2, { fields: FIELDS });

beforeAll(async () => {
  opened = await openProvider();
  await opened.provider.createCollection(schema, context());
  const samples = fc.sample(metadatas, { numRuns: 150, seed: 7 });
  records = [{}, ...samples].map((metadata, i) => record(`r${String(i).padStart(3, '0')}`, [1, i], metadata));
  await opened.provider.upsert(schema, scope, records, context());
  await opened.provider.upsert(schema, { ...scope, tenant: 'other' }, records, context());
});
afterAll(() => opened.close());

async function matching(tree: FilterNode): Promise<string[]> {
  const request = { limit: 1_000, include: nothing, filter: compiled(tree) };
  return (await opened.provider.list(schema, scope, request, context())).items.map(({ id }) => id);
}

function expected(tree: FilterNode): string[] {
  return records.filter(({ metadata }) => matchesMetadata(tree, metadata)).map(({ id }) => id);
}

describe('filters on pgvector', () => {
  test('answer as the oracle does, for 3,000 random trees', async () => {
    let telling = 0;
    await fc.assert(
      fc.asyncProperty(trees, async (drawn) => {
        const tree = normalize(drawn);
        if (tree === ALL || tree === NOTHING) return;
        const ids = expected(tree);
        if (ids.length > 0 && ids.length < records.length) telling++;
        expect(await matching(tree)).toEqual(ids);
      }),
      { numRuns: 3_000, seed: 11 },
    );
    expect(telling).toBeGreaterThan(1_500);
  }, 240_000);

  test('answer alike with indexes alone and without any', async () => {
    const drawn = fc.sample(trees, { numRuns: 200, seed: 5 }).map(normalize);
    for (const off of ['enable_seqscan', 'enable_indexscan']) {
      await opened.pool.script(`SET ${off} = off`, context());
      for (const tree of drawn)
        if (tree !== ALL && tree !== NOTHING) expect(await matching(tree)).toEqual(expected(tree));
      await opened.pool.script(`RESET ${off}`, context());
    }
  });

  test('take 256 conditions, 1,000 operands and 30 levels', async () => {
    const many = Array.from({ length: 256 }, (_x, i): FilterNode => ({ op: 'gte', field: field(`k${i}`), value: i }));
    const values = Array.from({ length: 1_000 }, (_x, i) => i - 1);
    let deep: FilterNode = { op: 'in', field: field('n'), values };
    for (let level = 0; level < 30; level++)
      deep = { op: 'not', node: { op: 'and', nodes: [deep, { op: 'exists', field: field('n') }] } };
    for (const tree of [{ op: 'or', nodes: many } as FilterNode, deep])
      expect(await matching(tree)).toEqual(expected(tree));
  });

  test.each([
    ['a number', 'n', 1.2],
    ['a number with a quote in its name', "q'u", 1.2],
    ['a date with a backslash in its name', 'b\\s', 1.2],
  ])('of a range over %s that is declared use its index', async (_case, key, value) => {
    const plans: string[] = [];
    const explained = providerOn(explaining(opened.pool, ({ plan }) => plans.push(plan)));
    await opened.pool.script('ANALYZE; SET enable_seqscan = off', context());
    const range = compiled({ op: 'gt', field: typed(key), value });
    await explained.count(schema, scope, range, context());
    await opened.pool.script('RESET enable_seqscan', context());
    expect(plans.join('\n')).toMatch(/Index Cond: .*metadata ->>? /);
  });
});
