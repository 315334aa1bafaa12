/** The traps of `docs/filters.md`, each by name: the input on which databases differ, and the one right answer. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { defineCollection } from '../collection/definition.js';
import type { Filter } from '../filter/syntax.js';
import { collectionOn, freshTenant, type OpenRecords } from './record-target.js';
import type { TestRunner } from './runner.js';

const Things = defineCollection<Record<string, unknown>>({
  name: 'test_things',
  fields: { s: 'string', n: 'number', d: 'date', flag: 'boolean' },
  text: ['body'],
  id: 'given',
});

/** Nothing in it repeats, so that no compression makes it short. */
const LONG_WORD = Array.from({ length: 40 }, (_, i) => createHash('sha512').update(`${i}`).digest('hex')).join('');

interface Trap {
  readonly name: string;
  readonly values: readonly Record<string, unknown>[];
  readonly filter: Filter<Record<string, unknown>>;
  /** Which of the values match, by position. */
  readonly matches: readonly number[];
}

const TRAPS: readonly Trap[] = [
  { name: 'an array equals no scalar', values: [{ a: [1, 2] }, { a: 1 }], filter: { a: 1 }, matches: [1] },
  { name: 'a range looks at no element', values: [{ a: [1, 2] }, { a: 2 }], filter: { a: { $gt: 0 } }, matches: [1] },
  { name: 'two bounds, two elements', values: [{ a: [0, 3] }], filter: { a: { $gt: 1, $lt: 2 } }, matches: [] },
  {
    name: 'a path stops at an array',
    values: [{ a: [{ b: 1 }] }, { a: { b: 1 } }],
    filter: { 'a.b': 1 },
    matches: [1],
  },
  {
    name: 'nothing exists inside an array',
    values: [{ a: [{ b: 1 }] }],
    filter: { 'a.b': { $exists: true } },
    matches: [],
  },
  { name: 'null is not missing', values: [{}, { a: null }, { a: [null] }], filter: { a: null }, matches: [1] },
  {
    name: 'a segment is a key, not an index',
    values: [{ a: [1] }, { a: { '0': 1 } }],
    filter: { 'a.0': 1 },
    matches: [1],
  },
  { name: '$ne matches what is missing', values: [{}, { a: 1 }, { a: 2 }], filter: { a: { $ne: 1 } }, matches: [0, 2] },
  { name: '$not matches what is missing', values: [{}, { a: 1 }], filter: { $not: { a: 1 } }, matches: [0] },
  { name: '$nin matches what is missing', values: [{}, { a: 1 }], filter: { a: { $nin: [1] } }, matches: [0] },
  {
    name: 'order by code point, not by locale',
    values: [{ s: 'a' }, { s: 'B' }],
    filter: { s: { $gt: 'B' } },
    matches: [0],
  },
  {
    name: 'order by code point, not by UTF-16 unit',
    values: [{ s: '😀' }, { s: '\uffff' }],
    filter: { s: { $gt: '\uffff' } },
    matches: [0],
  },
  {
    name: 'a range over mixed types does not fail',
    values: [{ a: 'x' }, { a: 6 }],
    filter: { a: { $gt: 5 } },
    matches: [1],
  },
  { name: 'true is not 1', values: [{ a: true }, { a: 1 }], filter: { a: 1 }, matches: [1] },
  { name: 'a number is not its text', values: [{ a: 5 }, { a: '5' }], filter: { a: '5' }, matches: [1] },
  { name: 'an array is not its text', values: [{ a: [1] }, { a: '[1]' }], filter: { a: '[1]' }, matches: [1] },
  {
    name: 'an object is not its text',
    values: [{ a: { b: 1 } }, { a: '{"b":1}' }],
    filter: { a: '{"b":1}' },
    matches: [1],
  },
  { name: 'integers beyond 2^53', values: [{ n: 2 ** 60 + 256 }], filter: { n: 2 ** 60 + 256 }, matches: [0] },
  {
    name: 'neighbouring doubles',
    values: [{ n: 0.3112906610273454 }, { n: 0.31129066102734543 }],
    filter: { n: 0.3112906610273454 },
    matches: [0],
  },
  {
    name: '$contains is membership',
    values: [{ a: ['x'] }, { a: 'axb' }, { a: [['x']] }],
    filter: { a: { $contains: 'x' } },
    matches: [0],
  },
  {
    name: '$contains null',
    values: [{ a: [null] }, { a: null }, {}],
    filter: { a: { $contains: null } },
    matches: [0],
  },
  {
    name: 'names that objects inherit',
    values: [{ toString: 'x' }, {}],
    filter: { toString: 'x' },
    matches: [0],
  },
  {
    name: 'an own key named constructor',
    values: [{ constructor: { a: 1 } }, {}],
    filter: { 'constructor.a': 1 },
    matches: [0],
  },
  { name: 'empty $in', values: [{ a: 1 }], filter: { a: { $in: [] } }, matches: [] },
  { name: 'empty $nin', values: [{ a: 1 }, {}], filter: { a: { $nin: [] } }, matches: [0, 1] },
  { name: 'empty filter', values: [{ a: 1 }, {}], filter: {}, matches: [0, 1] },
  { name: 'empty $and and $or', values: [{}], filter: { $and: [], $not: { $or: [] } }, matches: [0] },
  {
    name: 'every part of a nested group counts',
    values: [
      { a: 1, owner: 'acme' },
      { a: 1, owner: 'other' },
      { a: 2, owner: 'acme' },
    ],
    filter: { $and: [{ $or: [{ a: 1 }, { a: 2 }], owner: 'acme' }] },
    matches: [0, 2],
  },
  {
    name: '$or keeps the fields of a branch together',
    values: [{ a: 1, b: 2 }, { a: 1, b: 3 }, { c: 3 }],
    filter: { $or: [{ a: 1, b: 2 }, { c: 3 }] },
    matches: [0, 2],
  },
  {
    name: '$startsWith keeps the case',
    values: [{ s: 'abc' }, { s: 'Abc' }, { s: '%bc' }],
    filter: { s: { $startsWith: 'a' } },
    matches: [0],
  },
  {
    name: '$startsWith is no pattern',
    values: [{ s: '%x' }, { s: 'ax' }],
    filter: { s: { $startsWith: '%' } },
    matches: [0],
  },
  {
    name: '$icontains folds ASCII only',
    values: [{ s: 'xÉy' }, { s: 'xEy' }],
    filter: { s: { $icontains: 'e' } },
    matches: [1],
  },
  {
    name: '$text wants every word',
    values: [{ body: 'Red fox' }, { body: 'red' }, { body: 5 }],
    filter: { $text: 'FOX red' },
    matches: [0],
  },
  {
    name: '$text of a word longer than any index takes',
    values: [{ body: LONG_WORD }, { body: LONG_WORD.slice(1) }, { body: `Beside ${LONG_WORD.toUpperCase()}.` }],
    filter: { $text: LONG_WORD },
    matches: [0, 2],
  },
  { name: '$text of no word', values: [{ body: '!' }], filter: { $text: '!' }, matches: [] },
  {
    name: 'a date beside another',
    values: [{ d: new Date(5) }, { d: new Date(6) }],
    filter: { d: { $gt: new Date(5) } },
    matches: [1],
  },
];

export function describeFilters(runner: TestRunner, target: () => OpenRecords): void {
  const { describe, test } = runner;
  describe('filters', () => {
    for (const { name, values, filter, matches } of TRAPS)
      test(name, async () => {
        const things = collectionOn(target().backend, Things, freshTenant());
        for (const [i, value] of values.entries()) await things.insert(value, { id: String(i) });
        const page = await things.query(filter);
        assert.deepEqual(
          page.items.map(({ id }) => Number(id)),
          matches,
        );
        assert.equal(await things.count(filter), matches.length);
      });
  });
}
