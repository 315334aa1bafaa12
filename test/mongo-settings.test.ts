/** What a MongoDB URL and its settings may say, the errors of the client and its servers, and the release of the client. */
import { describe, expect, test } from '@jest/globals';
import { MongoClient } from 'mongodb';
import { memory } from '../src/pools/memory.js';
import { systemClock as clock } from '../src/clock.js';
import { mongo as backend } from '../src/backends/mongo/index.js';
import { isSerializationFailure } from '../src/errors.js';
import { duplicateIndex, isLostAnswer, mapError } from '../src/pools/mongo/errors.js';
import { hello } from '../src/pools/mongo/connect.js';
import { mongo } from '../src/pools/mongo/index.js';
import { isOlder } from '../src/pools/mongo/library.js';
import { readOptions } from '../src/pools/mongo/settings.js';
import { createTestDatabase } from '../src/pools/mongo/test-database.js';

describe('the URL', () => {
  test.each([
    'mongodb://localhost',
    'mongodb://localhost:27017',
    'mongodb://user:p%40ss@a:1,b:2/orders?replicaSet=rs0',
    'mongodb+srv://user:pass@cluster.example.net/?retryWrites=true',
    'mongodb+srv://cluster.example.net/?retryWrites=true&w=majority&appName=Cluster0',
    'mongodb://localhost/x?readPreference=primary&readconcernlevel=majority&timeoutMS=5000',
    'mongodb://[::1]:27017/x',
    'MONGODB://localhost/',
  ])('%s can be used', (url) => expect(mongo.checkUrl(url)).toBeUndefined());

  test.each([
    'mongodb:localhost',
    'mongodb://',
    'mongodb://:hunter2@',
    'mongodb://user:hunter2@:27017',
    'mongodb://user:hunter2@a:1,,b:2',
    'mongodb://user:hun/ter2@localhost',
    'mongodb://user:123/hunter2@localhost',
    'mongodb://user:hunter2@host:port/x',
    'mongodb+srv://user:hunter2@a.example.net:27017/x',
    'mongodb+srv://user:hunter2@a.example.net,b.example.net/x',
    'mongodb://user:hunter2@localhost/a.b',
    'mongodb://user:hunter2@localhost/%zz',
    `mongodb://user:hunter2@localhost/${'x'.repeat(64)}`,
  ])('%s cannot, and the reason repeats none of it', (url) => {
    const fault = mongo.checkUrl(url);
    expect(fault).toEqual(expect.any(String));
    expect(fault).not.toMatch(/hunter2|hun\/ter/);
  });

  test.each([
    ['a=b&MINPOOLSIZE=few', 'a URL whose minPoolSize is a whole number, 0 or more (it is pool.min of the settings)'],
    ['w=1', 'a URL without w, which is majority here in any case'],
    ['readPreference=nearest', 'a URL without readPreference, which is primary here in any case'],
    ['readConcernLevel=local', 'a URL without readConcernLevel, which is majority here in any case'],
  ])('an option that would be replaced is a fault: %s', (query, fault) => {
    expect(mongo.checkUrl(`mongodb://user:hunter2@localhost/x?${query}`)).toBe(fault);
  });

  test('says what the settings do not: as the URLs that services give out do', () => {
    const url =
      'mongodb://localhost/x?maxPoolSize=50&minpoolsize=2&maxIdleTimeMS=120000&connectTimeoutMS=10000&serverSelectionTimeoutMS=30000&socketTimeoutMS=7';
    expect(mongo.checkUrl(url)).toBeUndefined();
    expect(readOptions(url, { pool: { max: 20 } })).toMatchObject({
      pool: { max: 50, min: 2, idleTimeout: 120_000, connectTimeout: 30_000, acquireTimeout: 5_000 },
      socketTimeout: 7,
    });
    const endless = readOptions('mongodb://localhost/x?maxPoolSize=0&socketTimeoutMS=0', {});
    expect(endless).toMatchObject({ pool: { max: 20 }, socketTimeout: 120_000 });
    expect(readOptions(url, { pool: { max: 8, idleTimeout: 1 } })).toMatchObject({
      pool: { max: 8, min: 2, idleTimeout: 1 },
    });
  });

  test('names the database, or it is quartermaster', async () => {
    const name = (url: string): string => readOptions(url, {}).database;
    expect(name('mongodb://u:p@localhost:1/orders?w=1')).toBe('orders');
    expect(name('mongodb://localhost/caf%C3%A9')).toBe('café');
    expect([name('mongodb://localhost'), name('mongodb://localhost/?a=b')]).toEqual(['quartermaster', 'quartermaster']);
    const { url } = await createTestDatabase('mongodb://u:p@h:1/x?directConnection=true');
    expect(url).toMatch(/^mongodb:\/\/u:p@h:1\/test_[0-9a-f]{32}\?directConnection=true$/);
  });

  test('the same URL and settings are one pool, others are another', () => {
    const key = (url: string, options: Record<string, unknown> = {}): string => mongo.key(url, options, 'any');
    expect(key('mongodb://a/x')).toBe(key('mongodb://a/x', { pool: { max: 20 } }));
    expect(key('mongodb://a/x')).not.toBe(key('mongodb://a/y'));
    expect(key('mongodb://a/x')).not.toBe(key('mongodb://a/x', { pool: { max: 5 } }));
    expect(readOptions('mongodb://a/x', { pool: { max: 0, min: 9 } }).pool).toMatchObject({ max: 1, min: 1 });
  });
});

describe('errors', () => {
  const fault = (code: number, more: object = {}): Error => Object.assign(new Error('secret data'), { code, ...more });

  test.each([
    [18, 'UNAUTHORIZED'],
    [13, 'UNAUTHORIZED'],
    [50, 'TIMEOUT'],
    [14_031, 'STORAGE_FULL'],
    [11_600, 'UNAVAILABLE'],
    [91, 'UNAVAILABLE'],
    [10_107, 'UNAVAILABLE'],
    [112, 'CONFLICT'],
    [251, 'CONFLICT'],
    [11_000, 'ALREADY_EXISTS'],
    [20, 'UNSUPPORTED'],
    [64, 'OUTCOME_UNKNOWN'],
    [2, 'INTERNAL'],
  ])('code %i is %s, and its message shows no data', (code, expected) => {
    const mapped = mapError(fault(code, { codeName: 'Named' }), 'main', 'write');
    expect([mapped.code, mapped.component]).toEqual([expected, 'main']);
    expect(JSON.stringify(mapped)).not.toContain('secret');
    expect(isSerializationFailure(mapped)).toBe(expected === 'CONFLICT');
  });

  test.each([
    ['MongoServerSelectionError', 'UNAVAILABLE', false],
    ['MongoNetworkError', 'UNAVAILABLE', true],
    ['MongoWaitQueueTimeoutError', 'UNAVAILABLE', false],
    ['MongoParseError', 'CONFIGURATION', false],
    ['MongoRuntimeError', 'INTERNAL', false],
  ])('%s is %s', (name, code, lost) => {
    const error = Object.assign(new Error('x'), { name });
    expect([mapError(error, 'main').code, isLostAnswer(error)]).toEqual([code, lost]);
  });

  test('a name that cannot be resolved is unavailable; a password refused while a server is looked for is told', () => {
    expect(mapError(Object.assign(new Error('x'), { code: 'ENOTFOUND' }), 'main').code).toBe('UNAVAILABLE');
    const selection = Object.assign(new Error('x', { cause: fault(18) }), { name: 'MongoServerSelectionError' });
    expect(mapError(selection, 'main').code).toBe('UNAUTHORIZED');
    expect(isLostAnswer(Object.assign(new Error('x'), { code: 'ECONNRESET' }))).toBe(true);
  });

  test('the index of a duplicate key, as each server says it', () => {
    const said = (message: string, code = 11_000) => duplicateIndex(Object.assign(new Error(message), { code }));
    expect(said('E11000 duplicate key error collection: db.c index: u_1 dup key: { t: "index: x" }')).toBe('u_1');
    expect(said("Duplicate key violation on the requested collection: Index '_id_'")).toBe('_id_');
    expect(said('conflicting key value violates exclusion constraint "documents_rum_index_52"', 1)).toBe('');
    expect(said('something else', 1)).toBeUndefined();
  });
});

test('releases before 7.8.0 are too old', () => {
  expect(['6.12.0', '7.7.9', '7.0.0', 'x'].every(isOlder)).toBe(true);
  expect(['7.8.0', '7.8.0-beta', '7.10.1', '8.0.0', '7.8.0|other'].some(isOlder)).toBe(false);
});

test('a client of a release that is too old is not connected', async () => {
  // With it a client notes, as it is made, what it will tell the server about itself.
  const given = Object.getOwnPropertyDescriptor(MongoClient.prototype, 'appendMetadata')!;
  const pool = mongo.create('mongodb://127.0.0.1:1/x?directConnection=true', {}, { clock, name: 'main' });
  try {
    for (const version of ['7.7.9', '7.7.9|mongoose', undefined]) {
      MongoClient.prototype.appendMetadata = function (this: { options: object }) {
        Object.assign(this.options, { metadata: Promise.resolve({ driver: { version } }) });
      };
      await expect(pool.open({ clock, signal: new AbortController().signal })).rejects.toMatchObject({
        code: 'DEPENDENCY_MISSING',
        details: { found: version && '7.7.9' },
      });
    }
  } finally {
    Object.defineProperty(MongoClient.prototype, 'appendMetadata', given);
  }
});

test.each([
  [{ setName: 'rs0' }, 'snapshot'],
  [{ msg: 'isdbgrid' }, 'snapshot'],
  [{ msg: 'other' }, 'none'],
  [{ setName: null }, 'none'],
  [{}, 'none'],
])('a server that says %j of itself has transactions: %s', async (answer, transactions) => {
  const client = { db: () => ({ command: () => Promise.resolve(answer) }) } as unknown as MongoClient;
  const { signal } = new AbortController();
  expect(await hello(client, clock, signal)).toEqual({ transactions, clock: undefined });
});

test('the backend takes no other pool', () => {
  const pool = memory.create('memory:', {}, { clock, name: 'other' });
  expect(() => backend.create(pool, 'records:other')).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
});
