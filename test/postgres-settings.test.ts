import { describe, expect, test } from '@jest/globals';
import { postgres } from '../src/pools/postgres/index.js';
import { optionsKey, readOptions } from '../src/pools/postgres/settings.js';
import { registry } from '../src/registry.js';
import { loadSettings, type SettingsInput } from '../src/settings.js';
import { faultsOf } from './support/settings.js';

const options = (url: string, settings: Record<string, unknown> = {}) => readOptions(url, settings);
const load = (overrides: SettingsInput, environment = {}) =>
  loadSettings({ registry, directory: '/nowhere', environment, overrides });
const key = (url: string, settings: Record<string, unknown> = {}) => postgres.key(url, settings, 'main');

describe('the URL', () => {
  test.each([
    ['postgresql://u:p%40ss@h:5433/db', { host: 'h', port: 5433, user: 'u', password: 'p@ss', database: 'db' }],
    ['postgres://h', { host: 'h', port: 5432, user: undefined, database: undefined }],
    ['postgresql:///db?host=/run/postgresql', { host: '/run/postgresql', database: 'db' }],
    ['postgresql://u@%2Frun%2Fpostgresql/db', { host: '/run/postgresql', user: 'u' }],
    ['postgresql://[::1]:6000/db', { host: '::1', port: 6000 }],
    ['postgresql://h/db?user=a&password=b&application_name=x', { user: 'a', password: 'b', applicationName: 'x' }],
    ['postgresql://h/db?channel_binding=require', { channelBinding: 'require' }],
    ['postgresql://h/db', { channelBinding: 'disable' }],
    ['postgresql://', { host: 'localhost', port: 5432 }],
  ])('%s', (url, address) => {
    expect(postgres.checkUrl(url)).toBeUndefined();
    expect(options(url).address).toMatchObject(address);
  });

  test.each([
    ['postgresql://u:open%sesame@h/db', /percent-encoded/],
    ['postgresql://u:sesame@h:99999/db', /.+/],
    ['postgresql://u:sesame@h,i/db', /.+/],
    ['postgresql://u:123/sesame@h/db', /must be percent-encoded/],
    ['postgresql://u:5432#sesame@h/db', /must be percent-encoded/],
    ['postgresql://u:sesame@h/db?sesame=1', /a parameter of the URL is unknown; known: host/],
    ['postgresql://u:sesame@h/db?schema=public', /the parameter schema of the URL is unknown; known: host/],
    ['postgresql://u:sesame@h/db?sslmode=sesame', /sslmode must be one of/],
    ['postgresql://u:sesame@h/db?channel_binding=sesame', /channel_binding must be one of disable, prefer, require/],
    ['postgresql://u:sesame@h/db?port=sesame', /port/],
  ])('%s is refused without showing a part of it', (url, words) => {
    const fault = postgres.checkUrl(url);
    expect(fault).toMatch(words);
    expect(fault).not.toContain('sesame');
    expect(() => options(url)).toThrow(/^The URL cannot be used/);
  });

  test.each([
    ['postgresql://h/db', {}, 'disable'],
    ['postgresql://h/db?sslmode=verify-full', {}, 'verify-full'],
    ['postgresql://h/db?sslmode=require', { ssl: { mode: 'verify-ca' } }, 'verify-ca'],
    ['postgresql://h/db', { ssl: { mode: null, ca: '/ca.pem' } }, 'verify-full'],
    ['postgresql://h/db', { ssl: { cert: '/cert.pem', key: '/key.pem' } }, 'verify-full'],
    ['postgresql://h/db?sslrootcert=/ca.pem', {}, 'verify-full'],
    ['postgresql://h/db?sslmode=require', { ssl: { ca: '/ca.pem' } }, 'require'],
    ['postgresql://h/db', { ssl: { mode: 'disable', ca: '/ca.pem' } }, 'disable'],
  ])('TLS of %s with %j is %s', (url, settings, mode) => {
    expect(options(url, settings).tlsMode).toBe(mode);
  });
});

describe('the key of a shared pool', () => {
  test('is the same for what means the same', () => {
    const plain = key('postgresql://u:p@h/db');
    expect(key('postgres://u:p@h:5432/db')).toBe(plain);
    expect(key('postgresql://h:5432/db?password=p&user=u')).toBe(plain);
    expect(key('postgresql://u:p@h/db', { pool: { max: 10 }, pooler: 'none', ssl: { mode: null } })).toBe(plain);
    expect(key('postgresql://u:p@h/db?application_name=a')).toBe(
      key('postgresql://u:p@h/db', { applicationName: 'a' }),
    );
  });

  test.each([
    ['postgresql://u:q@h/db', {}],
    ['postgresql://u:p@h/other', {}],
    ['postgresql://u:p@h/db', { pool: { max: 11 } }],
    ['postgresql://u:p@h/db', { pooler: 'transaction' }],
    ['postgresql://u:p@h/db?sslmode=require', {}],
    ['postgresql://u:p@h/db?options=-c%20search_path%3Da', {}],
  ])('is another for %s with %j', (url, settings) => {
    expect(optionsKey(options(url, settings))).not.toBe(key('postgresql://u:p@h/db'));
  });
});

describe('the settings', () => {
  test('from the environment, as their types', async () => {
    const environment = {
      DATABASE_URL: 'postgresql://h/db',
      STORAGE_DATABASES_MAIN_POOL_MAX: '3',
      STORAGE_DATABASES_MAIN_POOL_LEAK_TIMEOUT: '1000',
      STORAGE_DATABASES_MAIN_POOLER: 'transaction',
      STORAGE_DATABASES_MAIN_SSL_MODE: 'verify-full',
    };
    const settings = await load({}, environment);
    expect(settings.databases['main']).toMatchObject({
      pool: { max: 3, min: 0, leakTimeout: 1_000 },
      pooler: 'transaction',
      ssl: { mode: 'verify-full', ca: null },
    });
  });

  test.each(['postgresql://h/db', 'mongodb://h/db'])('limits under which nothing works are faults: %s', async (url) => {
    const zeros = { url, pool: { max: 0, acquireTimeout: 0, connectTimeout: 0 } };
    const { error, keys } = await faultsOf(load({ databases: { main: zeros } }));
    expect(keys.sort()).toEqual(['acquireTimeout', 'connectTimeout', 'max'].map((key) => `databases.main.pool.${key}`));
    expect(error.message).toContain('1 or more');
    const crossed = await faultsOf(load({ databases: { main: { url, pool: { min: 50, max: 2 } } } }));
    expect(crossed.keys).toEqual(['databases.main.pool.min']);
    expect(crossed.error.message).toContain('no more than databases.main.pool.max');
  });

  test('wrong ones are faults', async () => {
    const main = { url: 'postgresql://h/db', pool: { max: -1, size: 2 }, pooler: 'session', statementTimeout: 'long' };
    const { keys } = await faultsOf(load({ databases: { main } }));
    expect(keys.sort()).toEqual([
      'databases.main.pool.max',
      'databases.main.pool.size',
      'databases.main.pooler',
      'databases.main.statementTimeout',
    ]);
  });
});
