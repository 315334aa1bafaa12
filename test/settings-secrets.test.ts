import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { sameSettings, type SettingsSources } from '../src/settings.js';
import { faultsOf, loadFrom, SECRET, shownOf } from './support/settings.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'settings-'));
});
afterEach(() => rm(directory, { recursive: true }));

const load = (overrides?: unknown, sources?: Partial<SettingsSources>) => loadFrom(directory, overrides, sources);

describe('secrets', () => {
  const wrongs: [string, unknown, Record<string, string>?][] = [
    ['a URL of an unknown scheme', { databases: { main: `oracle://u:${SECRET}@h/db` } }],
    ['a URL that is refused', { databases: { main: `postgresql://u:${SECRET}@h/d b` } }],
    ['a URL that the pool cannot read', { databases: { main: `postgresql://u:${SECRET}@h:port/db` } }],
    ['a URL in the place of a name', { databases: { [`postgresql://u:${SECRET}@h/db`]: 'memory:' } }],
    ['a key that is no text', { vectors: { [`[ ${SECRET} ]`]: { apiKey: SECRET } } }],
    ['a provider', { vectors: { default: SECRET } }],
    ['a URL of another type', { databases: { main: { url: [SECRET] } } }],
    ['an unknown key', { databases: { main: { url: 'memory:', passwort: SECRET } } }],
    ['a secret of another type', { databases: { main: { url: 'postgresql://h/db', password: { value: SECRET } } } }],
    ['a number that is none', { health: { timeout: SECRET } }],
    ['an enumeration', { tenancy: SECRET }],
    ['a variable', {}, { STORAGE_HEALTH_TIMEOUT: SECRET, STORAGE_VECTORS_APIKEY: SECRET, DATABASE_URL: SECRET }],
  ];
  test.each(wrongs)('are not in the fault of %s', async (_name, overrides, environment = {}) => {
    const { error } = await faultsOf(load(overrides, { environment }));
    expect(shownOf(error)).not.toContain(SECRET);
  });

  test('are not in the fault of a file that is not YAML', async () => {
    await writeFile(join(directory, 'broken.yaml'), `databases:\n  main: "postgresql://u:${SECRET}@h/db\n bad: [`);
    const { error } = await faultsOf(load(undefined, { file: 'broken.yaml' }));
    expect(shownOf(error)).not.toContain(SECRET);
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

  test('are behind getters where what is shown is not masked', async () => {
    const url = `postgresql://ann:${SECRET}@db.example:5432/app`;
    const settings = await load({ databases: { main: { url, password: SECRET } } });
    const plain = { customInspect: false, showHidden: true, depth: Infinity };
    // As console.dir shows it.
    for (const part of [settings, settings.databases['main']]) {
      expect(inspect(part, plain)).toContain('url: [Getter]');
      expect(inspect(part, plain)).not.toContain(SECRET);
    }
    expect({ ...settings.databases['main'] }).toMatchObject({ url, password: SECRET, tls: false });
    expect(structuredClone(settings.databases)['main']).toMatchObject({ url, password: SECRET });
    expect(() => Object.assign(settings.databases['main']!, { url: 'x' })).toThrow(TypeError);
    expect(sameSettings(settings, await load({ databases: { main: { password: SECRET, url } } }))).toBe(true);
    expect(sameSettings(settings, await load({ databases: { main: { url, password: 'other' } } }))).toBe(false);
  });
});

test.each(['12/', '12?', '12#'])('a password that holds %s ends the host early, and is not shown', async (start) => {
  const url = `postgresql://ann:${start}${SECRET}@db.example/app`;
  const settings = await load({ databases: { main: url } });
  expect(inspect(settings) + JSON.stringify(settings)).not.toMatch(new RegExp(`ann:12|${SECRET}`));
  expect(settings.databases['main']?.url).toBe(url);
});
