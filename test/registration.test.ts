/** What a third party registers is looked at when it is registered; what it then makes, when a manager opens. */
import { describe, expect, test } from '@jest/globals';
import {
  openStorage,
  registerBackend,
  registerPool,
  registerVectorProvider,
  type SettingsInput,
} from '../src/index.js';
import { memory as records } from '../src/backends/memory.js';
import { memory } from '../src/pools/memory.js';
import { registry } from '../src/registry.js';

const open = (settings: SettingsInput) => openStorage(settings, { environment: {}, directory: null });
const refused = (key: string) => expect.objectContaining({ code: 'VALIDATION', details: details(key) }) as unknown;
const details = (key: string) => expect.objectContaining({ key }) as unknown;

const pool = { ...memory, name: 'unready', schemes: ['unready'] };
const faultyPools: [string, unknown][] = [
  ['pool', undefined],
  ['pool', null],
  ['pool', 'memory'],
  ['pool.schemes', { ...pool, schemes: undefined }],
  ['pool.schemes', { ...pool, schemes: 'unready' }],
  ['pool.schemes', { ...pool, schemes: [] }],
  ['pool.schemes[1]', { ...pool, schemes: ['unready', 'Mine'] }],
  ['pool.schemes[0]', { ...pool, schemes: ['unready:'] }],
  ['pool.schemes[0]', { ...pool, schemes: [5] }],
  ['pool.backend', { ...pool, backend: undefined }],
  ['pool.vectors', { ...pool, vectors: 5 }],
  ['pool.settings', { ...pool, settings: null }],
  ['pool.settings.url', { ...pool, settings: { url: 'text' } }],
  ['pool.checkUrl', { ...pool, checkUrl: undefined }],
  ['pool.key', { ...pool, key: 'k' }],
  ['pool.create', { ...pool, create: undefined }],
];

describe('a pool', () => {
  test.each(faultyPools)('is refused for its %s', (key, driver) => {
    expect(() => registerPool(driver as never)).toThrow(refused(key));
    expect(registry.knownSchemes()).not.toContain('unready');
    expect(registry.names().pools).not.toContain('unready');
  });

  test('has no settings where it says none', async () => {
    const { settings: _none, ...driver } = { ...memory, name: 'plain', schemes: ['plain'], checkUrl: () => undefined };
    registerPool({ ...driver, create: (_url, _options, environment) => memory.create('memory:', {}, environment) });
    await using storage = await open({ databases: { main: 'plain:' } });
    expect(await storage.kv.has('a', 'b')).toBe(false);
  });

  const made: [string, (environment: { readonly name: string }) => unknown, string][] = [
    ['nothing', () => undefined, 'it was not made'],
    ['what does not open', ({ name }) => ({ name, check: () => undefined, close: () => undefined }), 'no method open'],
    ['what has no name', () => ({ open() {}, check() {}, close() {} }), 'another name'],
  ];
  test.each(made)('that makes %s is told when it opens', async (what, create, message) => {
    const scheme = `makes-${what.replaceAll(' ', '-')}`;
    registerPool({ ...memory, name: scheme, schemes: [scheme], checkUrl: () => undefined, create: create as never });
    await expect(open({ databases: { main: `${scheme}:` } })).rejects.toMatchObject({
      code: 'CONFIGURATION',
      component: 'main',
      message: expect.stringContaining(message) as unknown,
    });
  });
});

test.each<[string, unknown]>([
  ['backend', undefined],
  ['backend', 5],
  ['backend name', { create: () => undefined }],
  ['backend.create', { name: 'unready' }],
])('a backend is refused for its %s', (key, driver) => {
  expect(() => registerBackend(driver as never)).toThrow(refused(key));
  expect(registry.names().backends).not.toContain('unready');
});

describe('a vector provider', () => {
  class Provider {}
  const looped: { within?: object } = {};
  looped.within = looped;
  test.each<[string, unknown, unknown]>([
    ['vector provider', {}, undefined],
    ['vector provider', {}, {}],
    ['options', null, Provider],
    ['options', 'pooled', Provider],
    ['options.poled', { poled: true }, Provider],
    ['options.settings', { settings: [] }, Provider],
    ['options.settings.within', { settings: looped }, Provider],
    ['options.pooled', { pooled: 'yes' }, Provider],
  ])('is refused for its %s', (key, options, target) => {
    expect(() => registerVectorProvider('unready', options as never)(target as never)).toThrow(refused(key));
    expect(registry.addedProviders()).not.toContain('unready');
  });

  const methods = [
    ...['open', 'check', 'close', 'createCollection', 'describeCollection', 'listCollections', 'deleteCollection'],
    ...['upsert', 'fetch', 'list', 'count', 'delete', 'search'],
  ];
  // One class: every opening of this process has what is registered.
  let lacking: string | undefined;
  let name: string | undefined = 'vectors:whole';
  class Whole {
    readonly capabilities = {};
    constructor() {
      for (const method of methods) Object.assign(this, { [method]: async () => undefined });
      Object.assign(this, { name, check: async () => ({ status: 'healthy' }) });
      if (lacking !== undefined) Reflect.deleteProperty(this, lacking);
    }
  }

  test('is refused when a manager opens, for each method that it lacks, and for its capabilities', async () => {
    registerVectorProvider('whole')(Whole as never);
    for (lacking of methods)
      await expect(open({ databases: { main: 'memory:' } })).rejects.toMatchObject({
        code: 'UNSUPPORTED',
        component: 'vectors:whole',
        message: `The vector provider whole has no method ${lacking}`,
      });
    lacking = 'capabilities';
    await expect(open({ databases: { main: 'memory:' } })).rejects.toMatchObject({
      message: 'The vector provider whole has no capabilities',
    });
    lacking = undefined;
  });

  test('goes by the name that the manager has for it, whatever it calls itself', async () => {
    for (name of [undefined, 'main', 'vectors:whole']) {
      await using storage = await open({ databases: { main: 'memory:' } });
      expect(Object.keys((await storage.health()).components)).toContain('vectors:whole');
      expect(storage.vectors('whole').toJSON()).toMatchObject({ provider: 'vectors:whole' });
    }
  });
});

describe('what a pool and a backend are made of is looked at when a manager opens', () => {
  const without = <T extends object>(made: T, member: string): T => {
    const hidden = (key: string | symbol): boolean => key === member;
    return new Proxy(made, {
      get: (target, key) => (hidden(key) ? undefined : (Reflect.get(target, key, target) as unknown)),
      has: (target, key) => !hidden(key) && Reflect.has(target, key),
    });
  };
  let lacking = '';
  registerBackend({ ...records, name: 'bare', create: (made, name) => without(records.create(made, name), lacking) });
  registerPool({ ...memory, name: 'bare', schemes: ['bare'], backend: 'bare', checkUrl: () => undefined });
  registerPool({
    ...memory,
    ...{ name: 'bare-pool', schemes: ['bare-pool'], checkUrl: () => undefined },
    create: (_url, options, environment) => without(memory.create('memory:', options, environment), lacking),
  });

  test.each([
    ...['ensure', 'read', 'write', 'find', 'count', 'sweep'].map((name) => ['bare:', name, `no method ${name}`]),
    ...['capabilities', 'pool'].map((name) => ['bare:', name, `no ${name}`]),
    ...['figures', 'transaction', 'savepoint'].map((name) => ['bare-pool:', name, `no method ${name}`]),
  ])('%s without %s', async (url, member, words) => {
    lacking = member!;
    await expect(open({ databases: { main: url } })).rejects.toMatchObject({
      code: 'CONFIGURATION',
      component: url === 'bare:' ? 'records:main' : 'main',
      message: expect.stringContaining(`could not be created (it has ${words})`),
    });
  });
});
