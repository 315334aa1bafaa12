/** A URL is read alike by everybody who reads it: a secret's line end is no part of it, and none is passed on. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineCollection, openStorage } from '../src/index.js';
import { faultsOf, loadFrom, SECRET, shownOf } from './support/settings.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'settings-urls-'));
});
afterEach(() => rm(directory, { recursive: true }));

test.each(['DATABASE_URL', 'POSTGRES_CONNECTION_STRING', 'STORAGE_DATABASES_MAIN_URL'])(
  'the URL of the variable %s ends before the line of its secret',
  async (variable) => {
    const settings = await loadFrom(directory, undefined, { environment: { [variable]: ' postgresql://h/db\r\n' } });
    expect(settings.databases['main']?.url).toBe('postgresql://h/db');
  },
);

test('two variables that differ by a line end agree, and one of spaces is none', async () => {
  const environment = {
    DATABASE_URL: 'postgresql://h/db\n',
    STORAGE_DATABASES_MAIN_URL: 'postgresql://h/db',
    STORAGE_DATABASES_OTHER_URL: '\n',
    MONGODB_URI: ' ',
  };
  const { databases } = await loadFrom(directory, undefined, { environment });
  expect(Object.entries(databases).map(([name, { url }]) => [name, url])).toEqual([['main', 'postgresql://h/db']]);
});

test('the file of a database is that of the URL', async () => {
  const Notes = defineCollection<{ a: number }>({ name: 'notes' });
  const environment = { DATABASE_URL: `sqlite:${directory}/app.db\n` };
  await using storage = await openStorage(undefined, { environment, directory: null });
  await storage.collection(Notes).save({ a: 1 });
  expect((await storage.health()).overall).toBe('healthy');
  expect((await readdir(directory)).filter((name) => !/^app\.db(-wal|-shm)?$/.test(name))).toEqual([]);
});

test.each([
  ['a line end', `postgresql://u:${SECRET}@h/db\n`],
  ['a space before it', ` postgresql://u:${SECRET}@h/db`],
  ['a control character within', `postgresql://u:${SECRET}@h/d\u0001b`],
])('a URL that is passed in with %s is a fault of its key', async (_name, url) => {
  const { error, keys } = await faultsOf(loadFrom(directory, { databases: { main: { url, pool: { max: 2 } } } }));
  expect(keys).toEqual(['databases.main.url']);
  expect(error.message).toContain('expected a URL without spaces around it, line ends and other control characters');
  expect(shownOf(error)).not.toContain(SECRET);
});

test('so it is for a vector service', async () => {
  const options = { environment: {}, directory: null };
  const vectors = { chroma: { url: 'http://localhost:8000\n' } };
  const { keys } = await faultsOf(openStorage({ databases: { main: 'memory:' }, vectors }, options));
  expect(keys).toEqual(['vectors.chroma.url']);
});

test.each([
  ['./data.db', 'text without a scheme'],
  ['data.db', 'text without a scheme'],
  ['"memory:"', 'text in quotes, which are a part of it here'],
  ['${DATABASE_URL}', 'text with ${...}, which nothing replaces here'],
  [`file:./${SECRET}.db`, 'a URL of another scheme'],
])('what is no URL of a database, %s, is told what one looks like', async (url, actual) => {
  const { error, keys } = await faultsOf(loadFrom(directory, { databases: { main: url } }));
  expect(keys).toEqual(['databases.main.url']);
  expect(error.message).toContain('as sqlite:./data.db and memory: do');
  expect(error.message).toContain(`got ${actual}`);
  expect(shownOf(error)).not.toContain(SECRET);
});

test('a short unknown key is not taken for another short one', async () => {
  const main = { url: 'memory:', pol: 1 };
  const { error } = await faultsOf(loadFrom(directory, { databases: { main } }));
  expect(error.message).toContain('databases.main.pol: expected a known key (url, ');
});
