import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sameSettings, type SettingsSources } from '../src/settings.js';
import { faultsOf, loadFrom, makeRegistry, SECRET, shownOf } from './support/settings.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'settings-'));
});
afterEach(() => rm(directory, { recursive: true }));

const load = (overrides?: unknown, sources?: Partial<SettingsSources>) => loadFrom(directory, overrides, sources);

describe('sources', () => {
  test('nothing configured: PGlite in ./.quartermaster', async () => {
    const settings = await load();
    expect(settings.databases['main']?.url).toBe('pglite:./.quartermaster');
    expect(settings.stores.default).toBe('main');
    expect(settings.vectors.default).toBe('pgvector');
    expect(settings.vectors.providers['pgvector']).toMatchObject({ database: 'main', critical: true });
  });

  test('a provider that rides on a database is as critical as that is, unless it says otherwise', async () => {
    const critical = async (overrides: object, environment = {}) =>
      (await load(overrides, { environment })).vectors.providers['pgvector']!.critical;
    const databases = { main: { url: 'postgres://h/a', critical: false }, other: { url: 'postgres://h/b' } };
    expect(await critical({ databases })).toBe(false);
    expect(await critical({ databases: { main: 'postgres://h/a' } })).toBe(true);
    expect(await critical({ databases, vectors: { pgvector: { database: 'other' } } })).toBe(true);
    expect(await critical({ databases, vectors: { pgvector: { critical: true } } })).toBe(true);
    const environment = { DATABASE_URL: 'postgres://h/a', STORAGE_DATABASES_MAIN_CRITICAL: 'false' };
    expect(await critical({}, environment)).toBe(false);
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

  test('without a directory no file is read but a named one', async () => {
    await writeFile(join(directory, 'named.yaml'), 'health: { timeout: 3 }\n');
    const before = process.cwd();
    process.chdir(directory);
    try {
      await writeFile('quartermaster.yaml', 'health: { timeout: 2 }\n');
      expect((await load()).health.timeout).toBe(2);
      expect((await load({}, { directory: null })).health.timeout).toBe(5_000);
      expect((await load({}, { directory: null, file: 'named.yaml' })).health.timeout).toBe(3);
    } finally {
      process.chdir(before);
    }
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

  test("a machine's variables add no database to those that the host or a file names, and give a URL to one without", async () => {
    const environment = { DATABASE_URL: 'postgres://h/other', MONGODB_URI: 'postgres://h/foreign' };
    const shape = async (overrides?: unknown, more = {}): Promise<[string, Record<string, string>]> => {
      const { databases, stores } = await load(overrides, { environment: { ...environment, ...more } });
      const urls = Object.entries(databases).map(([name, { url }]): [string, string] => [name, url]);
      return [stores.default, Object.fromEntries(urls)];
    };
    const app = 'postgres://h/app';
    expect(await shape({ databases: { app } })).toEqual(['app', { app }]);
    expect(await shape({ databases: { main: app } })).toEqual(['main', { main: app }]);
    const own = { STORAGE_DATABASES_ARCHIVE_URL: 'memory:' };
    expect(await shape({ databases: { main: app } }, own)).toEqual(['main', { main: app, archive: 'memory:' }]);
    await writeFile(join(directory, 'quartermaster.yaml'), `databases: { app: "${app}" }\n`);
    expect(await shape()).toEqual(['app', { app }]);
    await writeFile(join(directory, 'quartermaster.yaml'), 'databases: { main: { pool: { max: 3 } } }\n');
    expect(await shape()).toEqual(['main', { main: environment.DATABASE_URL }]);
    await writeFile(join(directory, 'quartermaster.yaml'), `databases: { main: "${app}" }\n`);
    expect(await shape()).toEqual(['main', { main: environment.DATABASE_URL }]);
    await writeFile(join(directory, 'quartermaster.yaml'), 'tenancy: required\n');
    expect(await shape({ databases: {} })).toEqual([
      'main',
      { main: environment.DATABASE_URL, mongo: environment.MONGODB_URI },
    ]);
  });

  test('a scheme is known in capitals too, and an environment with a dot has its file', async () => {
    const environment = { MONGODB_URI: 'PostgreSQL://h/db', NODE_ENV: 'eu.prod' };
    await writeFile(join(directory, 'quartermaster.eu.prod.yaml'), 'tenancy: required\n');
    const settings = await load(undefined, { environment });
    expect(settings.databases['mongo']?.url).toBe('PostgreSQL://h/db');
    expect(settings.tenancy).toBe('required');
    for (const NODE_ENV of ['../eu', '.', 'eu/prod', '..'])
      expect((await load(undefined, { environment: { NODE_ENV } })).tenancy).toBe('optional');
  });

  test('a variable of a provider is that of no other whose name it begins with', async () => {
    const registry = makeRegistry();
    const url = { doc: 'URL.', format: 'string', default: null } as const;
    for (const name of ['chroma', 'chroma-cloud']) {
      const driver = { name, settings: { url }, create: () => undefined };
      registry.addProvider(name, () => Promise.resolve(driver as never));
    }
    const names = async (environment: Record<string, string>) =>
      Object.keys((await load({ databases: { main: 'memory:' } }, { registry, environment })).vectors.providers).sort();
    expect(await names({ STORAGE_VECTORS_CHROMA_CLOUD_URL: 'x' })).toEqual(['chroma-cloud', 'memory']);
    expect(await names({ STORAGE_VECTORS_CHROMA_URL: 'x' })).toEqual(['chroma', 'memory']);
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
          empty: {},
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
        'empty',
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

  test.each([
    ['databases:\n  main:\n    url: memory:\n', /in line 3 .*needs quotes: "memory:"/],
    ['databases: { main: memory: }\n', /in line 1 .*needs quotes: "memory:"/],
    [
      'databases:\n  main:\n    url:\n      memory:\n',
      /databases\.main\.url: expected a URL .*needs quotes: "memory:"\), got an object/,
    ],
  ])('a URL without quotes: %j', async (text, message) => {
    await writeFile(join(directory, 'quartermaster.yaml'), text);
    const { error } = await faultsOf(load());
    expect(error.message).toMatch(message);
  });

  test('a file of two documents is refused: nothing of the second would be read', async () => {
    await writeFile(join(directory, 'quartermaster.yaml'), 'tenancy: required\n---\ndatabases: { main: "memory:" }\n');
    const { error, keys } = await faultsOf(load());
    expect(keys).toEqual(['quartermaster.yaml']);
    expect(error.message).toContain('quartermaster.yaml: expected YAML, got MULTIPLE_DOCS in line 2');
    await writeFile(join(directory, 'quartermaster.yaml'), '---\ntenancy: required\n...\n');
    expect((await load()).tenancy).toBe('required');
  });

  test('files: text that YAML takes for an alias or a tag, and says nothing of', async () => {
    for (const password of [`*${SECRET}`, `!${SECRET}`]) {
      await writeFile(
        join(directory, 'own.yaml'),
        `databases:\n  main:\n    url: postgresql://h/db\n    password: ${password}\n`,
      );
      const { error, keys } = await faultsOf(load(undefined, { file: 'own.yaml' }));
      expect(keys).toEqual(['own.yaml']);
      expect(error.message).toContain('own.yaml: expected YAML');
      expect(shownOf(error)).not.toContain(SECRET);
    }
  });

  test('each names the source that said it', async () => {
    await writeFile(
      join(directory, 'quartermaster.yaml'),
      'vectors: { default: pincone }\ndatabases: { Bad: "memory:", main: {} }\n',
    );
    const environment = { DATABASE_URL: 'oracle://h/db', STORAGE_STORES_DEFAULT: 'nowhere' };
    const { error } = await faultsOf(load({ vectors: { pgvector: { database: 'gone' } } }, { environment }));
    const faults = error.details['faults'] as { key: string; source: string }[];
    expect(Object.fromEntries(faults.map(({ key, source }) => [key, source]))).toMatchObject({
      'databases.main.url': 'the variable DATABASE_URL',
      'databases.Bad': 'quartermaster.yaml',
      'vectors.default': 'quartermaster.yaml',
      'stores.default': 'the variable STORAGE_STORES_DEFAULT',
      'vectors.pgvector.database': 'the settings passed in',
    });
  });

  test('a database that a file only names is missed there', async () => {
    await writeFile(join(directory, 'quartermaster.yaml'), 'databases: { main: {} }\n');
    const { error } = await faultsOf(load());
    expect(error.message).toContain('databases.main.url: expected a URL, got undefined (quartermaster.yaml)');
  });

  test('a variable of another kind of database, with what there is of this one', async () => {
    const environment = { DATABASE_URL: 'memory:', STORAGE_DATABASES_MAIN_POOL_MAX: '5' };
    const { error, keys } = await faultsOf(load(undefined, { environment }));
    expect(keys).toEqual(['STORAGE_DATABASES_MAIN_POOL_MAX']);
    expect(error.message).toContain(
      'with its URL there are STORAGE_DATABASES_MAIN_URL, STORAGE_DATABASES_MAIN_CRITICAL',
    );
  });

  test('variables that are nearly ours; those of other programs are not', async () => {
    const environment = {
      STORAGE_DATABASE_MAIN_URL: 'memory:',
      STORAGE_TENENCY: 'required',
      STORAGE_DATABASE_ORDERS_URL: 'x',
    };
    const { error, keys } = await faultsOf(load(undefined, { environment }));
    expect(keys.sort()).toEqual(Object.keys(environment).sort());
    expect(error.message).toContain('do you mean STORAGE_DATABASES_MAIN_URL?');
    const others = {
      STORAGE_EMULATOR_HOST: 'x',
      STORAGE_BUCKET_URL: 'x',
      STORAGE_ACCOUNT: 'x',
      STORAGE_DEFAULT_REGION: 'x',
      STORAGE_STORE_NAME: 'x',
      STORAGE_EVENT_HUB: 'x',
      STORAGE_JOB_TIMEOUT: '5',
      STORAGE_DATABASE_NAME: 'x',
      STORAGE_VECTOR_SIZE: '3',
    };
    expect((await load(undefined, { environment: others })).tenancy).toBe('optional');
    const mistakes = {
      STORAGE_DATABASE_URL: 'memory:',
      STORAGE_VECTOR_PINECONE_API_KEY: 'x',
      STORAGE_STORE_DEFAULT: 'main',
      STORAGE_LIFECYCL_DRAN_TIMEOT: '5',
      STORAGE_EVENTS_HUB: 'x',
    };
    expect((await faultsOf(load(undefined, { environment: mistakes }))).keys.sort()).toEqual(
      Object.keys(mistakes).sort(),
    );
  });

  test('a group that is nearly ours, and the short form of a database in a variable, are told what they are meant for', async () => {
    const nearly = await faultsOf(load({ database: { main: 'memory:' } }));
    expect(nearly.error.message).toContain('do you mean databases.main?');
    const short = await faultsOf(load(undefined, { environment: { STORAGE_DATABASES_MAIN: 'sqlite:./a.db' } }));
    expect(short.error.message).toContain('do you mean STORAGE_DATABASES_MAIN_URL?');
  });

  test('quartermaster.yml is read as well, and refused beside quartermaster.yaml', async () => {
    await writeFile(join(directory, 'quartermaster.yml'), 'tenancy: required\n');
    expect((await load()).tenancy).toBe('required');
    await writeFile(join(directory, 'quartermaster.yaml'), 'tenancy: optional\n');
    expect((await faultsOf(load())).keys).toEqual(['quartermaster.yml']);
  });

  test('null does not take away what the library needs; an option without a value may be null', async () => {
    const { keys } = await faultsOf(load({ tenancy: null, health: { timeout: null }, stores: { default: null } }));
    expect(keys.sort()).toEqual(['health.timeout', 'stores.default', 'tenancy']);
    const settings = await load({ databases: { main: { url: 'postgresql://h/db', password: null } } });
    expect(settings.databases['main']).toMatchObject({ password: null });
  });

  test('a URL that is undefined is a fault, and does not open the embedded database', async () => {
    const environment = { NODE_ENV: 'production', DATABASE_URL: 'postgres://h/db' };
    for (const main of [undefined, { url: undefined }, { url: undefined, critical: false }])
      for (const sources of [{}, { environment }]) {
        const { error, keys } = await faultsOf(load({ databases: { main } }, sources));
        expect(keys).toEqual(['databases.main.url']);
        expect(error.message).toContain('databases.main.url: expected a URL, got undefined (the settings passed in)');
      }
    const beside = { databases: { main: 'memory:', orders: undefined } };
    expect((await faultsOf(load(beside))).keys).toEqual(['databases.orders.url']);
    for (const sources of [{}, { environment }]) {
      const { error, keys } = await faultsOf(load({ databases: undefined }, sources));
      expect(keys).toEqual(['databases']);
      expect(error.message).toContain('databases: expected an object of settings, got undefined');
    }
    for (const overrides of [{ databases: {} }, { tenancy: undefined }])
      expect((await load(overrides)).databases['main']?.url).toBe('pglite:./.quartermaster');
    expect(
      (await load({ databases: { main: { url: 'memory:', critical: undefined } } })).databases['main'],
    ).toMatchObject({
      url: 'memory:',
      critical: true,
    });
  });

  test('a timeout of nothing is none; other times may be 0', async () => {
    const lifecycle = { openTimeout: 0, operationTimeout: 0, schemaTimeout: 0 };
    const environment = { STORAGE_HEALTH_TIMEOUT: '0' };
    const { error, keys } = await faultsOf(load({ lifecycle }, { environment }));
    expect(keys.sort()).toEqual([
      'health.timeout',
      'lifecycle.openTimeout',
      'lifecycle.operationTimeout',
      'lifecycle.schemaTimeout',
    ]);
    expect(error.message).toContain('openTimeout: expected a whole number of milliseconds, 1 or more, got 0');
    const none = { lifecycle: { drainTimeout: 0, sweepInterval: 0 }, health: { cache: 0 } };
    expect(await load(none)).toMatchObject(none);
    const least = { lifecycle: { openTimeout: 1, operationTimeout: 1, schemaTimeout: 1 }, health: { timeout: 1 } };
    expect(await load(least)).toMatchObject(least);
  });

  test('a database named constructor is a database', async () => {
    const settings = await load({ databases: { constructor: 'memory:', main: 'memory:' } });
    expect(settings.databases['constructor']).toMatchObject({ url: 'memory:' });
    expect(Object.hasOwn(Object, 'url')).toBe(false);
  });

  test('settings that are no object', async () => {
    for (const wrong of [5, 'memory:', [], null]) expect((await faultsOf(load(wrong))).keys).toEqual(['settings']);
  });
});

test('the same settings are the same whatever the order of their keys', async () => {
  const one = await load({ databases: { a: 'memory:', b: 'memory:' }, stores: { default: 'a' } });
  const two = await load({ stores: { default: 'a' }, databases: { b: 'memory:', a: 'memory:' } });
  const three = await load({ stores: { default: 'b' }, databases: { b: 'memory:', a: 'memory:' } });
  expect([sameSettings(one, two), sameSettings(one, three)]).toEqual([true, false]);
});
