/** Chroma's settings: the server's address, its token, and what cannot be either. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify, inspect } from 'node:util';
import { systemClock as clock } from '../src/clock.js';
import { openStorage } from '../src/index.js';
import { registry } from '../src/registry.js';
import { loadSettings } from '../src/settings.js';
import { chroma } from '../src/vectors/chroma.js';
import { ChromaFixture, describeChroma, opening } from './support/chroma/fixture.js';
import type { Answer } from './support/chroma/proxy.js';
import { freePort } from './support/postgres/own-server.js';
import { PROJECT } from './support/project.js';

const SECRET = 'hunter2TheSecret';
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'quartermaster-chroma-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const load = (environment: Record<string, string>, vectors: Record<string, unknown> = {}) =>
  loadSettings({
    registry,
    directory,
    environment,
    overrides: { databases: { main: 'memory:' }, vectors: vectors as Record<string, string | Record<string, unknown>> },
  });
const make = (settings: Record<string, unknown>) => chroma.create(settings, { clock, name: 'vectors:chroma' });

describe("chroma's settings", () => {
  test('have defaults, and are read from the environment', async () => {
    const environment = { CHROMA_URL: 'http://chroma:8000', STORAGE_VECTORS_CHROMA_RETRY_ATTEMPTS: '2' };
    const { vectors } = await load({ ...environment, STORAGE_VECTORS_DEFAULT: 'chroma' });
    expect(vectors.default).toBe('chroma');
    const { url, ...others } = vectors.providers['chroma']!;
    expect(url).toBe('http://chroma:8000');
    expect(others).toEqual({
      critical: true,
      token: null,
      tokenHeader: 'authorization',
      serverTenant: 'default_tenant',
      serverDatabase: 'default_database',
      requestTimeout: 30_000,
      maxConcurrency: 16,
      retry: { attempts: 2, baseDelay: 100, maxDelay: 5_000 },
    });
  });

  test('two addresses that disagree are a fault', async () => {
    const both = { CHROMA_URL: 'http://a:8000', STORAGE_VECTORS_CHROMA_URL: 'http://b:8000' };
    await expect(load(both)).rejects.toMatchObject({ code: 'CONFIGURATION' });
  });

  test('do not show the token', async () => {
    const settings = await load({}, { default: 'chroma', chroma: { url: 'http://chroma:8000', token: SECRET } });
    expect(settings.vectors.providers['chroma']?.['token']).toBe(SECRET);
    expect(inspect(settings, { depth: 9 }) + JSON.stringify(settings)).not.toContain(SECRET);
  });

  test.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['no URL', SECRET],
    ['another scheme', `ftp://${SECRET}`],
    ['a password', `http://user:${SECRET}@chroma:8000`],
    ['a user', `http://${SECRET}@chroma:8000`],
    ['a query', `http://chroma:8000/?token=${SECRET}`],
    ['a fragment', `http://chroma:8000/#${SECRET}`],
  ])('refuse as an address: %s', (_case, url) => {
    const refused = expect(() => make({ url }));
    refused.toThrow(
      expect.objectContaining({
        code: 'CONFIGURATION',
        details: expect.objectContaining({ key: 'vectors.chroma.url' }) as object,
      }),
    );
    refused.not.toThrow(new RegExp(SECRET));
  });

  test.each([`${SECRET}\r\nhost: elsewhere`, `${SECRET} `, `${SECRET}é`, ''])('refuse as a token: %j', (token) => {
    const refused = expect(() => make({ url: 'http://chroma:8000', token }));
    refused.toThrow(
      expect.objectContaining({
        code: 'CONFIGURATION',
        details: expect.objectContaining({ key: 'vectors.chroma.token' }) as object,
      }),
    );
    refused.not.toThrow(new RegExp(SECRET));
  });

  test.each([
    'https://api.trychroma.com:8000',
    'https://europe-west1.gcp.trychroma.com',
    'https://API.TryChroma.com./',
  ])('refuse Chroma Cloud: %s', (url) => {
    expect(() => make({ url, token: SECRET })).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
  });

  test('need the package, and say which', async () => {
    await cp(join(PROJECT, 'build', 'src'), join(directory, 'src'), { recursive: true });
    await writeFile(join(directory, 'package.json'), '{"type":"module"}');
    const script = `
      import { chroma } from './src/vectors/chroma.js';
      import { systemClock as clock } from './src/clock.js';
      const provider = chroma.create({ url: 'http://127.0.0.1:9' }, { clock, name: 'vectors:chroma' });
      await provider.open({ clock, signal: new AbortController().signal }).catch((e) => console.log(JSON.stringify(e)));`;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
      cwd: directory,
    });
    expect(JSON.parse(stdout)).toMatchObject({
      code: 'DEPENDENCY_MISSING',
      message: expect.stringMatching(/npm install chromadb/) as unknown,
      component: 'vectors:chroma',
    });
  });
});

describeChroma('chroma of a manager', () => {
  let fixture: ChromaFixture;
  beforeAll(async () => {
    fixture = await ChromaFixture.open();
  });
  afterAll(() => fixture.close());

  const open = (settings: Record<string, unknown>) =>
    openStorage({ databases: { main: 'memory:' }, vectors: { chroma: settings } }, { environment: {} });

  test('is opened, checked and closed with it; tenants are apart', async () => {
    await using storage = await open({ url: `${fixture.url}/`, serverDatabase: fixture.database });
    const vectors = storage.vectors('chroma');
    await vectors.createCollection({ name: 'docs', dimension: 2 });
    await storage
      .tenant('acme')
      .vectors('chroma')
      .upsert('docs', [{ id: 'a', vector: [1, 2] }]);
    expect(await storage.tenant('acme').vectors('chroma').count('docs')).toBe(1);
    expect(await vectors.count('docs')).toBe(0);
    expect(JSON.stringify(await storage.health())).toContain('vectors:chroma');
  });

  test("a database that the server does not have is the settings' fault: it would look empty", async () => {
    const missing = open({ url: fixture.url, serverDatabase: 'not there' });
    await expect(missing).rejects.toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringMatching(/"not there".*vectors\.chroma\.serverDatabase/) as unknown,
    });
  });

  test.each<[string, Answer]>([
    ['looks at no limit of a deletion', { status: 404, body: '{"error":"NotFoundError","message":"Collection"}' }],
    ['takes every deletion', { status: 200, body: '{}' }],
  ])('a server that %s is too old', async (_what, answer) => {
    const proxy = await fixture.proxy();
    // What servers before 1.5.3 answer: they say nothing of their age.
    proxy.meet(/^POST .*\/delete$/, { ...answer, headers: { 'content-type': 'application/json' } });
    const provider = fixture.make({ url: proxy.url });
    await expect(provider.open(opening())).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: 'The Chroma server is too old: 1.5.3 or later is needed',
    });
    expect(proxy.count(/delete$/)).toBe(1);
    proxy.heal();
    await provider.open(opening());
  });

  test('a server that is not there is UNAVAILABLE, with its address and who said it', async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const environment = { CHROMA_URL: `${url}/${SECRET}`, STORAGE_VECTORS_CHROMA_RETRY_ATTEMPTS: '1' };
    const missing = openStorage({ databases: { main: 'memory:' }, vectors: { default: 'chroma' } }, { environment });
    await expect(missing).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: `The Chroma server at ${new URL(url).host} cannot be reached, or broke its answer off (ECONNREFUSED) (vectors.chroma.url is from the variable CHROMA_URL)`,
    });
  });

  test('a port that fetch never asks is a fault of the settings', async () => {
    const provider = make({ url: 'http://127.0.0.1:1' });
    await expect(provider.open(opening())).rejects.toMatchObject({
      code: 'CONFIGURATION',
      message: 'The Chroma server at 127.0.0.1:1: fetch refuses to ask this port',
    });
  });
});
