/** What the codec lets in, what it refuses, and how it says so. */
import { describe, expect, test } from '@jest/globals';
import { isStorageError, type StorageError } from '../src/errors.js';
import { compileMetadataFilter } from '../src/vectors/codec/filter.js';
import { decodeMetadata, encodeMetadata } from '../src/vectors/codec/metadata.js';
import { fusionDepth } from '../src/vectors/codec/fusion.js';
import { encodeRecord } from '../src/vectors/codec/record.js';
import { resolveSchema, sameSchema } from '../src/vectors/codec/schema.js';
import { VectorSlab } from '../src/vectors/codec/slab.js';
import { checkNamespace, checkVector, checkVectorId, checkVectorText } from '../src/vectors/codec/values.js';
import type { VectorCapabilities, VectorCollectionSpec } from '../src/vectors/provider.js';

const capabilities: VectorCapabilities = {
  metrics: ['cosine', 'euclidean', 'dot'],
  exact: true,
  operators: { stringRange: true, notRange: 'always' },
  metadataDigits: 17,
  deleteCount: true,
  listOrder: 'id',
  text: false,
  sparse: false,
  consistency: 'immediate',
  transactions: true,
  durable: false,
  maxDimension: 16_000,
  maxTopK: 10_000,
  maxBatch: 1_000,
  maxMetadataBytes: 40_960,
};
const spec: VectorCollectionSpec = {
  name: 'docs',
  dimension: 3,
  fields: { at: 'date', n: 'number', 'a.b': 'string', tags: 'string[]' },
};
const schema = resolveSchema(spec, capabilities);

/** The error of a call that must be refused. */
function refused(call: () => unknown, code = 'VALIDATION'): StorageError {
  try {
    call();
  } catch (error) {
    if (isStorageError(error) && error.code === code) return error;
    throw error;
  }
  throw new Error(`not refused with ${code}`);
}

const metadata = (value: unknown): ReturnType<typeof encodeMetadata> => encodeMetadata(value, schema.fields, 40_960);

describe('metadata', () => {
  test('are flat inside and nested outside', () => {
    const host = { loc: { from: { line: 1 }, to: 'x' }, list: ['b', 'a', 'b'], n: -0, at: new Date(7) };
    const { metadata: flat } = metadata(host);
    expect(flat).toEqual({ 'loc.from.line': 1, 'loc.to': 'x', list: ['b', 'a', 'b'], n: 0, at: 7 });
    expect(Object.is(flat['n'], 0)).toBe(true);
    expect(decodeMetadata(flat, schema.fields)).toEqual({ ...host, n: 0 });
  });

  test('objects without a prototype, and names that objects inherit', () => {
    const host = Object.assign(Object.create(null) as object, { constructor: { toString: 'x' }, valueOf: 1 });
    const { metadata: flat } = metadata(host);
    expect(decodeMetadata(flat, {})).toEqual({ constructor: { toString: 'x' }, valueOf: 1 });
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });

  class Thing {
    x = 1;
  }
  const loop: Record<string, unknown> = {};
  loop['self'] = loop;
  const deep = (levels: number): unknown => (levels === 0 ? 1 : { d: deep(levels - 1) });
  const wide = (keys: number): unknown => Object.fromEntries(Array.from({ length: keys }, (_, i) => [`k${i}`, i]));

  test.each<[string, unknown, RegExp]>([
    ['null', { a: null }, /^metadata\.a: .*got null$/],
    ['undefined', { a: undefined }, /^metadata\.a: .*got undefined$/],
    ['a Date that is not declared', { a: new Date(0) }, /getTime\(\).*Date/],
    ['a bigint', { a: 1n }, /bigint/],
    ['NaN', { a: NaN }, /NaN/],
    ['Infinity', { a: Infinity }, /infinite/],
    ['an integer beyond 2^53', { a: 2 ** 53 }, /2\^53/],
    ['a list of numbers', { a: [1] }, /^metadata\.a\[0\]: expected a string, got a number$/],
    ['a mixed list', { a: ['x', true] }, /^metadata\.a\[1\]/],
    ['a list with a hole', { a: Array(1) }, /^metadata\.a\[0\].*undefined$/],
    ['an instance', { a: new Thing() }, /Thing/],
    ['an empty object', { a: {} }, /at least one key/],
    ['a function', { a: () => 1 }, /function/],
    ['NUL in text', { a: 'x\0' }, /U\+0000/],
    ['a lone surrogate', { a: '\ud800' }, /surrogate/],
    ['a key with a dot', { 'a.b': 1 }, /dot/],
    ['a key with $', { a: { $b: 1 } }, /^metadata\.a: the key "\$b"/],
    ['a key with #', { '#a': 1 }, /#/],
    ['a key of chroma', { 'chroma:document': 1 }, /chroma:/],
    ['a key that ends with []', { 'a[]': 1 }, /\[\]/],
    ['the key qm', { qm: 1 }, /qm/],
    ['the key __proto__', JSON.parse('{"__proto__": {"x": 1}}'), /__proto__/],
    ['an empty key', { '': 1 }, /empty/],
    ['a long key', { ['k'.repeat(129)]: 1 }, /128/],
    ['nine levels', deep(9), /8 levels/],
    ['itself', loop, /8 levels/],
    ['257 values', wide(257), /256/],
    ['more than 40 KB', { a: 'x'.repeat(41_000) }, /40960 bytes/],
    ['an array', [], /^metadata: expected a plain object, got an array$/],
    ['a declared field of another type', { n: '1' }, /^metadata\.n: expected a number \(as declared\)/],
    ['an object at a declared field', { tags: { x: 'y' } }, /^metadata\.tags: expected a string\[\]/],
    ['a declared date as number', { at: 7 }, /^metadata\.at: expected a Date/],
    ['an invalid Date', { at: new Date(NaN) }, /^metadata\.at/],
  ])('%s is refused', (_name, value, message) => {
    expect(refused(() => metadata(value)).message).toMatch(message);
  });

  test('the limits themselves are allowed', () => {
    metadata(deep(8));
    metadata(wide(256));
    metadata({ ['k'.repeat(128)]: 1, é: 2 ** 53 - 1, list: [] });
  });
});

describe('vectors', () => {
  test.each<[string, unknown, RegExp]>([
    ['another length', [1, 2], /expected 3 numbers, got 2/],
    ['NaN', [1, NaN, 3], /vector\[1\].*NaN/],
    ['a hole', [1, , 3], /vector\[1\].*undefined/],
    ['a string', [1, '2', 3], /vector\[1\].*string/],
    ['what float32 cannot hold', [1, 1e39, 3], /vector\[1\].*float32/],
    ['zero', [0, 0, 0], /length/],
    ['zero in float32', [1e-50, 0, 0], /length/],
    ['too short to square', [1e-30, 0, 0], /length/],
    ['too long to square', [1e19, 0, 0], /length/],
    ['just too short', [9e-16, 0, 0], /length from 1e-15 to 1000000000000000/],
    ['just too long', [0, 9e14, 9e14], /length/],
    ['a Float64Array', new Float64Array(3), /Float64Array/],
    ['text', 'abc', /a string/],
    ['nothing', undefined, /undefined/],
  ])('%s is refused', (_name, value, message) => {
    expect(refused(() => checkVector(value, 3)).message).toMatch(message);
  });

  test('are copied as float32', () => {
    const given = Float32Array.from([1, 2, 3]);
    const kept = checkVector(given, 3);
    given[0] = 9;
    expect([...kept]).toEqual([1, 2, 3]);
    expect(checkVector([0.1, 0, 0], 3)[0]).toBe(Math.fround(0.1));
    for (const length of [1.1e-15, 9.9e14]) expect(checkVector([length, 0, 0], 3)[0]).toBe(Math.fround(length));
  });
});

test('ids and namespaces', () => {
  for (const id of ['', 'x\0', '\ud800', 'x'.repeat(513), 'é'.repeat(257), 7, null]) refused(() => checkVectorId(id));
  expect(checkVectorId('é'.repeat(256))).toHaveLength(256);
  for (const namespace of [' x', 'a\n', 'x'.repeat(256), 7, null]) refused(() => checkNamespace(namespace));
  expect([checkNamespace(undefined), checkNamespace('user.1')]).toEqual(['', 'user.1']);
});

test('a text has a mebibyte, of which fewer characters may be', () => {
  for (const text of ['x'.repeat(1_048_576), 'é'.repeat(524_288), '']) expect(checkVectorText(text)).toBe(text);
  for (const text of ['x'.repeat(1_048_577), `${'é'.repeat(524_288)}x`, 'a\0', '\ud800', 7, null])
    expect(refused(() => checkVectorText(text)).message).toMatch(/^text: /);
});

test('of each list at least 50 and five for one are fused, and no more than a provider gives', () => {
  expect([1, 10, 11, 100, 300].map((topK) => fusionDepth(topK, 1_000))).toEqual([50, 50, 55, 500, 1_000]);
});

test('records: unknown keys, sparse vectors and what is no record are refused', () => {
  const encode = (record: unknown): unknown =>
    encodeRecord(
      record,
      schema,
      { maxMetadataBytes: 40_960, vectorFault: undefined, recordFault: undefined, slab: new VectorSlab() },
      'records[4]',
    );
  expect(refused(() => encode({ id: 'a', values: [1, 2, 3] })).message).toMatch(
    /^records\[4\]\.values: expected one of .*, got an unknown key$/,
  );
  expect(refused(() => encode({ id: 'a', vector: [1, 2] })).message).toMatch(/^records\[4\]\.vector/);
  refused(() => encode({ id: 'a', vector: [1, 2, 3], sparse: { indices: [], values: [] } }), 'UNSUPPORTED');
  refused(() => encode({ id: 'a', vector: [1, 2, 3], text: null }));
  for (const bad of [null, 'a', [], 7]) refused(() => encode(bad));
});

describe('schemas', () => {
  test('defaults are filled in, and the order of keys does not count', () => {
    expect(schema).toMatchObject({ metric: 'cosine', index: { kind: 'hnsw', m: 16, efConstruction: 64 } });
    const fields = { tags: 'string[]', 'a.b': 'string', n: 'number', at: 'date' } as const;
    const other = resolveSchema({ fields, dimension: 3, name: 'docs', metric: 'cosine' }, capabilities);
    expect(sameSchema(schema, other)).toBe(true);
    expect(sameSchema(schema, resolveSchema({ ...spec, metric: 'dot' }, capabilities))).toBe(false);
  });

  test.each<[string, object, RegExp]>([
    ['an unknown key', { metrics: 'dot' }, /metrics: expected one of .*, got an unknown key$/],
    ['an unknown metric', { metric: 'manhattan' }, /^metric: .*cosine, euclidean, dot/],
    ['an unknown type', { fields: { a: 'text' } }, /^fields\.a/],
    ['an unknown index', { index: { kind: 'flat' } }, /^index\.kind/],
    ['an option of another index', { index: { kind: 'hnsw', lists: 5 } }, /lists/],
    ['too small a width', { index: { kind: 'hnsw', m: 32, efConstruction: 40 } }, /efConstruction/],
    ['more probes than lists', { index: { kind: 'ivfflat', lists: 5, probes: 6 } }, /probes/],
  ])('%s is refused', (_name, change, message) => {
    expect(refused(() => resolveSchema({ ...spec, ...change }, capabilities)).message).toMatch(message);
  });

  test('what the provider does not have is UNSUPPORTED', () => {
    refused(() => resolveSchema({ ...spec, metric: 'dot' }, { ...capabilities, metrics: ['cosine'] }), 'UNSUPPORTED');
    refused(() => resolveSchema({ ...spec, dimension: 16_001 }, capabilities), 'UNSUPPORTED');
  });
});

describe('filters', () => {
  const compile = (filter: unknown, operators = capabilities.operators): unknown =>
    compileMetadataFilter(filter, schema, operators);

  test('fold to constants', () => {
    for (const filter of [{}, { $not: { x: { $in: [] } } }, { at: { $nin: [] } }]) expect(compile(filter)).toBe('all');
    for (const filter of [
      { x: { $in: [] } },
      { n: 'x' },
      { tags: 'x' },
      { tags: { $gt: 'x' } },
      { n: { $contains: 'x' } },
    ])
      expect(compile(filter)).toBe('nothing');
  });

  test('dates are milliseconds', () => {
    expect(compile({ at: { $gte: new Date(7) } })).toMatchObject({ tree: { op: 'gte', value: 7 } });
    expect(compile({ at: { $in: [new Date(7), new Date(-8)] } })).toMatchObject({ tree: { values: [7, -8] } });
    refused(() => compile({ at: 7 }), 'INVALID_FILTER');
    refused(() => compile({ x: new Date(7) }), 'INVALID_FILTER');
  });

  test('what the provider cannot answer is UNSUPPORTED, also below a negation', () => {
    const none = { stringRange: false, notRange: 'never' } as const;
    for (const filter of [
      { s: { $gt: 'x' } },
      { $or: [{ a: 1 }, { $not: { s: { $lt: 'x' } } }] },
      { n: { $not: { $gt: 1 } } },
    ])
      refused(() => compile(filter, none), 'UNSUPPORTED');
    expect(compile({ $not: { $not: { n: { $gt: 1 } } } }, none)).toBeDefined();
    const declared = { stringRange: false, notRange: 'declared' } as const;
    expect(compile({ $not: { n: { $gt: 1 }, at: { $lt: new Date(1) } } }, declared)).toBeDefined();
    refused(() => compile({ $not: { other: { $gt: 1 } } }, declared), 'UNSUPPORTED');
  });
});
