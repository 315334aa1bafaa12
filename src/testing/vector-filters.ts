/** The traps of filters over metadata, each by name: the input on which vector databases differ, and the one right answer. */
import assert from 'node:assert/strict';
import { isStorageError } from '../errors.js';
import type { TestRunner } from './runner.js';
import { rejects, type VectorFixture } from './vector-target.js';

interface Trap {
  readonly name: string;
  readonly values: readonly Record<string, unknown>[];
  readonly filter: Record<string, unknown>;
  /** Which of the values match, by position. */
  readonly matches: readonly number[];
  /** Needs ranges over strings, or negated ranges, which a provider may not have. */
  readonly needs?: 'stringRange' | 'notRange';
}

const TRAPS: readonly Trap[] = [
  { name: 'a list equals no scalar', values: [{ t: ['x'] }, { t: 'x' }], filter: { t: 'x' }, matches: [1] },
  {
    name: '$contains is membership',
    values: [{ t: ['x'] }, { t: 'axb' }, { t: ['xy'] }],
    filter: { t: { $contains: 'x' } },
    matches: [0],
  },
  {
    name: 'not $contains matches the rest',
    values: [{ t: ['x'] }, { t: 'x' }, {}, { t: [] }],
    filter: { t: { $not: { $contains: 'x' } } },
    matches: [1, 2, 3],
  },
  {
    name: 'an empty list exists',
    values: [{ t: [] }, {}, { t: ['a'] }],
    filter: { t: { $exists: true } },
    matches: [0, 2],
  },
  { name: 'a fraction is not its integer', values: [{ a: 1 }, { a: 1.5 }, { a: 2 }], filter: { a: 1.5 }, matches: [1] },
  { name: 'not a fraction', values: [{ a: 1 }, { a: 1.5 }, {}], filter: { a: { $ne: 1.5 } }, matches: [0, 2] },
  { name: 'an integer below a fraction', values: [{ a: 1 }, { a: 2 }], filter: { a: { $lt: 1.6 } }, matches: [0] },
  { name: 'zero is not above a half', values: [{ a: 0 }, { a: 1 }], filter: { a: { $gte: 0.5 } }, matches: [1] },
  {
    name: 'negative fractions',
    values: [{ a: -1 }, { a: -2 }, { a: -1.5 }],
    filter: { a: { $gt: -1.6, $lt: -1 } },
    matches: [2],
  },
  {
    name: 'integers and fractions in one $in',
    values: [{ a: 1 }, { a: 1.5 }, { a: 2.5 }],
    filter: { a: { $in: [1, 2.5] } },
    matches: [0, 2],
  },
  {
    name: 'types in one $in',
    values: [{ a: 1 }, { a: true }, { a: '1' }, { a: 'true' }, {}],
    filter: { a: { $in: [1, true] } },
    matches: [0, 1],
  },
  {
    name: 'types in one $nin',
    values: [{ a: 1 }, { a: true }, { a: '1' }, {}],
    filter: { a: { $nin: [1, true] } },
    matches: [2, 3],
  },
  { name: 'true is not 1', values: [{ a: true }, { a: 1 }], filter: { a: 1 }, matches: [1] },
  {
    name: 'a boolean is not above a number',
    values: [{ a: true }, { a: 6 }, { a: '9' }],
    filter: { a: { $gt: 5 } },
    matches: [1],
  },
  { name: 'a number is not its text', values: [{ a: 5 }, { a: '5' }], filter: { a: '5' }, matches: [1] },
  {
    name: 'integers at the end of the safe range',
    values: [{ n: 9007199254740991 }, { n: 9007199254740990 }],
    filter: { n: 9007199254740991 },
    matches: [0],
  },
  {
    name: 'falsy values',
    values: [{ a: false }, { a: 0 }, { a: '' }, {}],
    filter: { $or: [{ a: false }, { a: 0 }, { a: '' }] },
    matches: [0, 1, 2],
  },
  {
    name: '$ne matches what is missing',
    values: [{}, { a: 1 }, { a: '1' }],
    filter: { a: { $ne: 1 } },
    matches: [0, 2],
  },
  { name: '$exists: false', values: [{}, { a: 1 }], filter: { a: { $exists: false } }, matches: [0] },
  {
    name: 'a path of an object is missing',
    values: [{ loc: { from: 1 } }, { loc: 1 }],
    filter: { loc: { $exists: true } },
    matches: [1],
  },
  {
    name: 'a path into an object',
    values: [{ loc: { from: 1 } }, { loc: { from: 2 } }],
    filter: { 'loc.from': { $gte: 2 } },
    matches: [1],
  },
  {
    name: 'names that objects inherit',
    values: [{ toString: 'x' }, {}],
    filter: { toString: { $exists: true } },
    matches: [0],
  },
  {
    name: 'a field named as a column',
    values: [{ tenant: 'x', id: 'r1' }, {}],
    filter: { tenant: 'x', id: 'r1' },
    matches: [0],
  },
  { name: 'empty $in', values: [{ a: 1 }], filter: { a: { $in: [] } }, matches: [] },
  { name: 'empty $nin', values: [{ a: 1 }, {}], filter: { a: { $nin: [] } }, matches: [0, 1] },
  { name: 'empty filter', values: [{ a: 1 }, {}], filter: {}, matches: [0, 1] },
  {
    name: 'every part of a nested group counts',
    values: [{ a: 1, b: 2 }, { c: 3 }, { a: 1 }, { a: 1, b: 2, o: 'x' }],
    filter: { $or: [{ a: 1, b: 2 }, { c: 3 }], o: { $exists: false } },
    matches: [0, 1],
  },
  ...['t[]', 'qm.text', 'qm.types', 'qm.none', 'chroma:document', '#t', 'loc.t[]', 'qm'].flatMap((key): Trap[] => [
    {
      name: `the key ${key}, which no record can have`,
      values: [{ t: ['x'] }, { t: [] }, {}],
      filter: { $or: [{ [key]: 'x' }, { [key]: true }, { [key]: { $contains: 'x' } }, { [key]: { $exists: true } }] },
      matches: [],
    },
    {
      name: `the key ${key}, negated`,
      values: [{ t: ['x'] }, { t: [] }, {}],
      filter: { t: { $exists: true }, [key]: { $ne: 'x' } },
      matches: [0, 1],
    },
  ]),
  {
    name: 'a value that looks like SQL',
    values: [{ a: "' OR 1=1 --" }, { a: 'x' }],
    filter: { a: "' OR 1=1 --" },
    matches: [0],
  },
  { name: 'a declared list and a scalar', values: [{ tags: ['x'] }, {}], filter: { tags: 'x' }, matches: [] },
  {
    name: 'a declared date in a range',
    values: [{ at: new Date(5) }, { at: new Date(6) }, {}],
    filter: { at: { $gt: new Date(5) } },
    matches: [1],
  },
  {
    name: 'a declared date in $in',
    values: [{ at: new Date(5) }, { at: new Date(-6) }],
    filter: { at: { $in: [new Date(-6)] } },
    matches: [1],
  },
  {
    name: 'not a range',
    needs: 'notRange',
    values: [{ count: 5 }, { count: 6 }, {}],
    filter: { count: { $not: { $gt: 5 } } },
    matches: [0, 2],
  },
  {
    name: 'not a range of what has other types',
    needs: 'notRange',
    values: [{ a: 5 }, { a: 'x' }, {}, { a: true }],
    filter: { a: { $not: { $lt: 6 } } },
    matches: [1, 2, 3],
  },
  {
    name: 'strings by code point',
    needs: 'stringRange',
    values: [{ s: '😀' }, { s: '\uffff' }, { s: 'a' }, { s: 5 }],
    filter: { s: { $gt: '\ue000' } },
    matches: [0, 1],
  },
  {
    name: 'strings not by locale',
    needs: 'stringRange',
    values: [{ s: 'a' }, { s: 'B' }, { s: '' }],
    filter: { s: { $lte: 'B' } },
    matches: [1, 2],
  },
];

export function describeVectorFilters(runner: TestRunner, fixture: () => VectorFixture): void {
  const { describe, test } = runner;
  describe('filters', () => {
    let collection: Promise<string> | undefined;
    const fields = { tags: 'string[]', at: 'date', count: 'number' } as const;

    for (const [number, { name, values, filter, matches, needs }] of TRAPS.entries())
      test(name, async () => {
        collection ??= fixture().collection({ fields });
        const where = await collection;
        const store = fixture().store();
        const namespace = `trap${number}`;
        const records = values.map((metadata, i) => ({ id: `r${i}`, vector: [1, i, 1], metadata }));
        await store.upsert(where, records, { namespace });
        await fixture().settle();
        const positions = (ids: readonly { id: string }[]): number[] => ids.map(({ id }) => Number(id.slice(1))).sort();
        const search = store.search(where, { vector: [1, 1, 1], filter, namespace });
        try {
          assert.deepEqual(positions(await search), matches);
        } catch (error) {
          // Only what the capabilities say is not there may be refused.
          const { operators } = fixture().provider.capabilities;
          if (!isStorageError(error, 'UNSUPPORTED')) throw error;
          assert.ok(
            needs === 'stringRange' ? !operators.stringRange : needs === 'notRange' && operators.notRange !== 'always',
          );
          return rejects(store.count(where, filter, { namespace }), 'UNSUPPORTED');
        }
        assert.deepEqual(positions((await store.list(where, { filter, namespace })).items), matches);
        assert.equal(await store.count(where, filter, { namespace }), matches.length);
      });

    test('what is no filter is refused', async () => {
      collection ??= fixture().collection({ fields });
      const where = await collection;
      const bad: Record<string, unknown>[] = [
        { a: null },
        { a: undefined },
        { a: [1] },
        { a: {} },
        { a: { $gt: true } },
        { a: { $regex: 'x' } },
        { a: { $in: 'x' } },
        { a: { $in: [null] } },
        { a: { $contains: 1 } },
        { a: { $startsWith: 'x' } },
        { a: { $exists: 1 } },
        { a: NaN },
        { a: 2 ** 60 },
        { a: new Date(0) },
        { at: 5 },
        { $text: 'x' },
        { $nor: [] },
        { $and: { a: 1 } },
        { a: { $in: Array.from({ length: 1_001 }, (_, i) => i) } },
        { a: { $in: Array.from({ length: 300 }, (_, i) => i + 0.5) } },
        { $or: Array.from({ length: 257 }, (_, i) => ({ a: i })) },
      ];
      for (const filter of bad) {
        await rejects(fixture().store().count(where, filter), 'INVALID_FILTER');
        await rejects(
          fixture()
            .store()
            .search(where, { vector: [1, 1, 1], filter }),
          'INVALID_FILTER',
        );
        await rejects(fixture().store().delete(where, { filter }), 'INVALID_FILTER');
      }
    });
  });
}
