/** A URL that was meant and not found leaves the data in the embedded database: the process is told where, and why. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { openStorage } from '../src/index.js';
import { StorageManager } from '../src/manager.js';
import { loadSettings, settingsDoubts } from '../src/settings.js';
import { memory as records } from '../src/backends/memory.js';
import { memory } from '../src/pools/memory.js';
import { Registry } from '../src/registry.js';
import { mask } from '../src/settings/masking.js';
import { faultsOf, loadFrom, SECRET } from './support/settings.js';

const URL = `postgresql://u:${SECRET}@h/db`;
let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'settings-doubts-'));
});
afterEach(() => rm(directory, { recursive: true }));

async function doubtsIn(environment: Record<string, string>, overrides?: unknown): Promise<string[]> {
  const settings = await loadFrom(directory, overrides, { environment });
  return settingsDoubts(settings).map(({ message }) => message);
}

test.each([
  ...['DATABSE_URL', 'DATABASE_URI', 'DATABASE_URLS', 'database_url', 'DATABASE_URL_FILE', 'DB_URL', 'PG_URL'],
  ...['POSTGRES_URL', 'POSTGRES_CONNECTION_STRIN', 'MONGO_URL', 'MONGODB_URL', 'STORAGE_URL', 'STORAGE_MAIN_URL'],
  ...['STORAGE_DB_MAIN_URL', 'PGHOST', 'PGDATABASE', 'STORGE_DATABASES_MAIN_URL', 'QUARTERMASTER_DATABASES_MAIN_URL'],
])('%s is told where the embedded database takes its place', async (variable) => {
  const [told, ...others] = await doubtsIn({ [variable]: URL, HOME: '/x', TEST_DATABASE_URL: URL });
  expect(others).toEqual([]);
  expect(told).toContain(`set, but not read: ${variable}. `);
  expect(told).toContain(`the embedded database of ${resolve('.quartermaster')}`);
  expect(told).toContain(join(directory, 'quartermaster.yaml'));
  expect(told).not.toContain(SECRET);
});

test('so is an empty one, and production without any', async () => {
  expect((await doubtsIn({ DATABASE_URL: '' }))[0]).toContain('set, but empty: DATABASE_URL. ');
  expect(await doubtsIn({ NODE_ENV: 'production' })).toHaveLength(1);
});

test('nothing is told where nothing is set, or a database is named', async () => {
  expect(await doubtsIn({ NODE_ENV: 'development', STORAGE_BUCKET_URL: URL, TEST_POSTGRES_URL: URL })).toEqual([]);
  const environment = { NODE_ENV: 'production', DATABSE_URL: URL };
  expect(await doubtsIn({ ...environment, DATABASE_URL: URL })).toEqual([]);
  expect(await doubtsIn(environment, { databases: { main: 'pglite:./.quartermaster' } })).toEqual([]);
});

test('a name of tenancy with a word too many is a fault; one that is nearly it is told', async () => {
  const environment = { STORAGE_TENANCY_MODE: 'required', STORAGE_DEFAULT_TENANT_ID: 'x' };
  const { error, keys } = await faultsOf(loadFrom(directory, undefined, { environment }));
  expect(keys).toEqual(Object.keys(environment));
  expect(error.message).toContain('do you mean STORAGE_TENANCY?');
  expect(error.message).toContain('do you mean STORAGE_DEFAULT_TENANT?');
  const [told] = await doubtsIn({ STORAGE_TENANT_REQUIRED: 'true', DATABASE_URL: URL });
  expect(told).toContain('No setting is named by STORAGE_TENANT_REQUIRED');
});

test('they are told when the manager opens: to who listens', async () => {
  const registry = new Registry();
  const { vectors: _vectors, ...pool } = { ...memory, name: 'pglite', schemes: ['pglite'], checkUrl: () => undefined };
  registry.addPool(pool.name, pool.schemes, () => Promise.resolve(pool));
  registry.addBackend(pool.backend, () => Promise.resolve(records));
  const settings = await loadSettings({ registry, directory, environment: { DB_URL: URL } });
  const manager = new StorageManager({ registry, settings });
  const told: unknown[] = [];
  manager.on('error', (error) => told.push(error.code, error.details['variables']));
  await manager.open();
  await manager.close();
  expect(told).toEqual(['CONFIGURATION', ['DB_URL']]);
});

test('the health report tells where each database is, without secrets', async () => {
  const file = `sqlite:${directory}/app.db`;
  await using storage = await openStorage(
    { databases: { main: 'memory:', file }, stores: { default: 'main' } },
    { environment: {}, directory: null },
  );
  const { components } = await storage.health();
  expect([components['main']?.details['url'], components['file']?.details['url']]).toEqual(['memory:', file]);
});

test('the hosts of a replica set are shown', () => {
  const url = `mongodb://ann:${SECRET}@a:27017,b:27017/shop?token=${SECRET}`;
  expect(mask(url)).toBe('mongodb://ann:***@a:27017,b:27017/shop?***');
  expect(mask(`mongodb://ann:${SECRET}/x@a:1,b:2/shop`)).toBe('***');
});
