/** What a newcomer meets: a variable of another program, and two databases of which none is the default. */
import { expect, test } from '@jest/globals';
import { inspect } from 'node:util';
import { isStorageError, openStorage, StorageError, UnavailableError } from '../src/index.js';
import { registerScriptedPool } from './support/scripted-pool.js';

const SECRET = 'hunter2-the-secret';
const script = registerScriptedPool('origin');

async function failed(work: Promise<unknown>): Promise<StorageError> {
  const error = await work.catch((reason: unknown) => reason);
  if (!isStorageError(error)) throw new Error(`expected a StorageError, got ${String(error)}`);
  return error;
}

test.each([
  ['a driver that throws', Object.assign(new Error(SECRET), { code: 'ERR_MODULE_NOT_FOUND' })],
  ['a server that is away', new UnavailableError('The server cannot be reached')],
])('a URL of a variable that cannot be opened, by %s, is told by the name of the variable', async (_name, fault) => {
  const environment = { DATABASE_URL: `origin://user:${SECRET}@host/db` };
  script.failures.push(fault);
  const error = await failed(openStorage(undefined, { environment }));
  expect(error).toBeInstanceOf(UnavailableError);
  expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true, component: 'main' });
  expect(error.message).toContain('databases.main.url is from the variable DATABASE_URL');
  expect(`${error.message}${error.stack}${inspect(error)}${JSON.stringify(error)}`).not.toContain(SECRET);
  await (await openStorage(undefined, { environment })).close();
});

test('a client library that is not installed keeps its code', async () => {
  script.failures.push(new StorageError('DEPENDENCY_MISSING', 'Install pg'));
  const error = await failed(openStorage(undefined, { environment: { DATABASE_URL: 'origin://host/db' } }));
  expect([error.code, error.message]).toEqual([
    'DEPENDENCY_MISSING',
    'Install pg (databases.main.url is from the variable DATABASE_URL)',
  ]);
});

test('a URL of a scheme that nobody registered is told by the name of the variable', async () => {
  const error = await failed(openStorage(undefined, { environment: { DATABASE_URL: `oracle://user:${SECRET}@host` } }));
  expect(error.message).toContain('(the variable DATABASE_URL)');
  expect(error.message).not.toContain(SECRET);
});

test('two databases and no default: the message says what to set', async () => {
  const error = await failed(openStorage({ databases: { orders: 'memory:', logs: 'memory:' } }, { environment: {} }));
  expect(error.code).toBe('CONFIGURATION');
  expect(error.message).toContain('(orders, logs) to be named as the default one: set stores.default');
  const wrong = { databases: { orders: 'memory:', logs: 'memory:' }, stores: { default: 'order' } } as const;
  expect((await failed(openStorage(wrong, { environment: {} }))).message).toContain(
    'stores.default: expected the name of a database (orders, logs)',
  );
});
