import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import type { SettingsFragment } from '../src/component.js';
import { isStorageError, type StorageError } from '../src/errors.js';
import { memory } from '../src/pools/memory.js';
import { Registry } from '../src/registry.js';
import { loadSettings, sameSettings, type SettingsInput, type SettingsSources } from '../src/settings.js';

const SECRET = 'hunter2-the-secret';

/** A registry with the shapes of pools and providers that later come with drivers of their own. */
function makeRegistry(): Registry {
  const registry = new Registry();
  const postgres: SettingsFragment = {
    pool: { max: { doc: 'Connections.', format: 'nat', default: 10 } },
    password: { doc: 'Password.', format: 'string', default: null, sensitive: true },
    tls: { doc: 'TLS.', format: 'boolean', default: false },
  };
  const driver = (name: string, schemes: string[], settings: SettingsFragment, vectors?: string) => ({
    ...memory,
    name,
    schemes,
    settings,
    ...(vectors === undefined ? {} : { vectors }),
    checkUrl: (url: string) => (url.includes(' ') ? 'expected a URL without spaces' : undefined),
  });
  const pools = [
    driver('postgres', ['postgresql', 'postgres'], postgres, 'pgvector'),
    driver('pglite', ['pglite'], {}, 'pgvector'),
    memory,
  ];
  for (const pool of pools) registry.addPool(pool.name, pool.schemes, () => Promise.resolve(pool));
  const create = (): never => {
    throw new Error('no provider is made here');
  };
  registry.addProvider('pgvector', () => Promise.resolve({ name: 'pgvector', pooled: true, create }));
  registry.addProvider('memory', () => Promise.resolve({ name: 'memory', pooled: true, create }));
  const apiKey = { doc: 'Key.', format: 'string', default: null, sensitive: true, env: ['PINECONE_API_KEY'] } as const;
  registry.addProvider('pinecone', () => Promise.resolve({ name: 'pinecone', settings: { apiKey }, create }));
  return registry;
}

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'settings-'));
});
afterEach(() => rm(directory, { recursive: true }));

const load = (overrides?: unknown, sources: Partial<SettingsSources> = {}) =>
  loadSettings({
    registry: makeRegistry(),
    directory,
    environment: {},
    ...(overrides === undefined ? {} : { overrides: overrides as SettingsInput }),
    ...sources,
  });

async function faultsOf(work: Promise<unknown>): Promise<{ error: StorageError; keys: string[] }> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isStorageError(error, 'CONFIGURATION')) throw new Error(`expected CONFIGURATION, got ${String(error)}`);
  return { error, keys: (error.details['faults'] as { key: string }[]).map(({ key }) => key) };
}

describe('sources', () => {
  test('nothing configured: PGlite in ./.quartermaster', async () => {
    const settings = await load();
    expect(settings.databases['main']?.url).toBe('pglite:./.quartermaster');
    expect(settings.stores.default).toBe('main');
    expect(settings.vectors.default).toBe('pgvector');
    expect(settings.vectors.providers['pgvector']).toMatchObject({ database: 'main', critical: true });
  });

  test('later wins: default, file, environment file, named file, variable, argument', async () => {
    await writeFile(
      join(directory, 'quartermaster.yaml'),
      'health: { timeout: 1, cache: 1 }\nlifecycle: { openTimeout: 1, drainTimeout: 1 }\n',
    );
    await writeFile(
      join(directory, 'quartermaster.test.yaml'),
      'health: { timeout: 2 }\nlifecycle: { openTimeout: 2, drainTimeout: 2 }\n',
    );
    await writeFile(join(directory, 'mine.yaml'), 'lifecycle: { openTimeout: 3, drainTimeout: 3 }\n');
    const environment = {
      NODE_ENV: 'test',
      STORAGE_LIFECYCLE_DRAIN_TIMEOUT: '4',
      STORAGE_LIFECYCLE_OPERATION_TIMEOUT: '4',
    };
    const settings = await load({ lifecycle: { operationTimeout: 5 } }, { environment, file: 'mine.yaml' });
    expect(settings.health).toMatchObject({ cache: 1, timeout: 2 });
    expect(settings.lifecycle).toMatchObject({ openTimeout: 3, drainTimeout: 4, operationTimeout: 5 });
  });

  test('a database named in the environment alone', async () => {
    const environment = {
      STORAGE_DATABASES_ORDERS_URL: 'postgresql://h/db',
      STORAGE_DATABASES_ORDERS_POOL_MAX: '3',
      STORAGE_DATABASES_ORDERS_TLS: 'true',
    };
    const settings = await load(undefined, { environment });
    expect(settings.databases['orders']).toMatchObject({ url: 'postgresql://h/db', pool: { max: 3 }, tls: true });
    expect(Object.keys(settings.databases)).toEqual(['orders']);
    expect(settings.stores.default).toBe('orders');
  });

  test('names that people already have set', async () => {
    const environment = { DATABASE_URL: 'postgres://h/db', PINECONE_API_KEY: 'k' };
    const settings = await load({ vectors: { Pinecone: {} } }, { environment });
    expect(settings.databases['main']?.url).toBe('postgres://h/db');
    expect(settings.vectors.providers['pinecone']).toMatchObject({ apiKey: 'k' });
    expect((await load(undefined, { environment: { PINECONE_API_KEY: 'k' } })).vectors.providers).not.toHaveProperty(
      'pinecone',
    );
    expect((await load(undefined, { environment: { STORAGE_EMULATOR_HOST: 'x' } })).stores.default).toBe('main');
  });

  test('two variables that disagree are a fault, two that agree are not', async () => {
    const environment = { DATABASE_URL: `postgres://u:${SECRET}@h/a`, POSTGRES_CONNECTION_STRING: 'postgres://h/b' };
    const { error, keys } = await faultsOf(load(undefined, { environment }));
    expect(keys).toEqual(['databases.main.url']);
    expect(error.message).toContain('POSTGRES_CONNECTION_STRING');
    const same = { DATABASE_URL: 'postgres://h/a', POSTGRES_CONNECTION_STRING: 'postgres://h/a' };
    expect((await load(undefined, { environment: same })).databases['main']?.url).toBe('postgres://h/a');
  });
});

describe('faults', () => {
  test('all at once, each with its key and what was expected', async () => {
    const { error, keys } = await faultsOf(
      load(
        {
          databases: {
            main: { url: 'postgresql://h/db', pool: { max: 'many', mx: 1 }, tls: 'yes' },
            'Bad-Name': 'memory:',
            other: 'nope://x',
            third: 5,
          },
          stores: { default: 'nowhere' },
          vectors: { default: 'pgvector', pgvector: { database: 'gone' }, unheardof: {} },
          tenancy: 'maybe',
          health: { timeout: -1, cache: Number.NaN },
          lifecycle: 5,
          unknown: true,
        },
        { environment: { STORAGE_HEALTH_TIMEOUT: 'soon', STORAGE_HEALTH_COLOUR: 'red' } },
      ),
    );
    expect(keys.sort()).toEqual(
      [
        'STORAGE_HEALTH_COLOUR',
        'databases.Bad-Name',
        'databases.Bad-Name.url',
        'databases.main.pool.max',
        'databases.main.pool.mx',
        'databases.main.tls',
        'databases.other.url',
        'databases.third',
        'databases.third.url',
        'health.cache',
        'health.timeout',
        'health.timeout',
        'lifecycle',
        'stores.default',
        'tenancy',
        'unknown',
        'vectors.pgvector.database',
        'vectors.unheardof',
      ].sort(),
    );
    expect(error.message).toContain('databases.main.pool.max: expected a whole number, 0 or more, got a string');
    expect(error.message).toContain('do you mean databases.main.pool.max?');
  });

  test('files: missing, a directory, not YAML, not an object, __proto__', async () => {
    expect((await faultsOf(load(undefined, { file: 'gone.yaml' }))).keys).toEqual(['gone.yaml']);
    expect((await faultsOf(load(undefined, { file: '.' }))).keys).toEqual(['.']);
    await writeFile(join(directory, 'list.yaml'), '- 1\n');
    expect((await faultsOf(load(undefined, { file: 'list.yaml' }))).keys).toEqual(['list.yaml']);
    await writeFile(join(directory, 'proto.yaml'), '__proto__:\n  tenancy: required\n');
    expect((await faultsOf(load(undefined, { file: 'proto.yaml' }))).keys).toEqual(['__proto__.tenancy']);
    expect(({} as Record<string, unknown>)['tenancy']).toBeUndefined();
  });

  test('settings that are no object', async () => {
    for (const wrong of [5, 'memory:', [], null]) expect((await faultsOf(load(wrong))).keys).toEqual(['settings']);
  });
});

describe('secrets', () => {
  const wrongs: [string, unknown, Record<string, string>?][] = [
    ['a URL of an unknown scheme', { databases: { main: `oracle://u:${SECRET}@h/db` } }],
    ['a URL that is refused', { databases: { main: `postgresql://u:${SECRET}@h/d b` } }],
    ['a URL of another type', { databases: { main: { url: [SECRET] } } }],
    ['an unknown key', { databases: { main: { url: 'memory:', passwort: SECRET } } }],
    ['a secret of another type', { databases: { main: { url: 'postgresql://h/db', password: { value: SECRET } } } }],
    ['a number that is none', { health: { timeout: SECRET } }],
    ['an enumeration', { tenancy: SECRET }],
    ['a variable', {}, { STORAGE_HEALTH_TIMEOUT: SECRET, STORAGE_VECTORS_APIKEY: SECRET, DATABASE_URL: SECRET }],
  ];
  test.each(wrongs)('are not in the fault of %s', async (_name, overrides, environment = {}) => {
    const { error } = await faultsOf(load(overrides, { environment }));
    expect(
      JSON.stringify(error) + inspect(error, { depth: Infinity }) + error.stack + JSON.stringify(error.details),
    ).not.toContain(SECRET);
  });

  test('are not in the fault of a file that is not YAML', async () => {
    await writeFile(join(directory, 'broken.yaml'), `databases:\n  main: "postgresql://u:${SECRET}@h/db\n bad: [`);
    const { error } = await faultsOf(load(undefined, { file: 'broken.yaml' }));
    expect(inspect(error, { depth: Infinity }) + error.message).not.toContain(SECRET);
    expect(error.message).toContain('broken.yaml: expected YAML');
  });

  test('are masked at every depth, and read as they are', async () => {
    const url = `postgresql://ann:${SECRET}@db.example:5432/app?password=${SECRET}`;
    const settings = await load({
      databases: { main: { url, password: SECRET } },
      vectors: { pinecone: { apiKey: SECRET } },
    });
    for (const part of [settings, settings.databases, settings.databases['main'], { nested: [settings] }])
      expect(JSON.stringify(part) + inspect(part, { depth: Infinity })).not.toContain(SECRET);
    expect(JSON.stringify(settings.vectors)).not.toContain(SECRET);
    expect(inspect(settings.databases['main'])).toContain('postgresql://ann:***@db.example:5432/app?***');
    expect(settings.databases['main']?.url).toBe(url);
    expect(Object.isFrozen(settings.databases['main'])).toBe(true);
  });
});

test('the same settings are the same whatever the order of their keys', async () => {
  const one = await load({ databases: { a: 'memory:', b: 'memory:' }, stores: { default: 'a' } });
  const two = await load({ stores: { default: 'a' }, databases: { b: 'memory:', a: 'memory:' } });
  const three = await load({ stores: { default: 'b' }, databases: { b: 'memory:', a: 'memory:' } });
  expect([sameSettings(one, two), sameSettings(one, three)]).toEqual([true, false]);
});
