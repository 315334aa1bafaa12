/** Settings as the tests of settings load them: nothing of the process's environment, pools of every shape. */
import { inspect } from 'node:util';
import type { SettingsFragment } from '../../src/component.js';
import { isStorageError, type StorageError } from '../../src/errors.js';
import { memory } from '../../src/pools/memory.js';
import { Registry } from '../../src/registry.js';
import { loadSettings, type Settings, type SettingsInput, type SettingsSources } from '../../src/settings.js';

export const SECRET = 'hunter2-the-secret';

/** A registry with the shapes of pools and providers that later come with drivers of their own. */
export function makeRegistry(): Registry {
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
    // Throws, as a third party's may: the error of `new URL()` holds the URL.
    checkUrl: (url: string) => (url.includes(' ') ? 'expected a URL without spaces' : void new URL(url)),
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

/** Loads from `directory`, with no variables unless `sources` has them. */
export function loadFrom(
  directory: string,
  overrides?: unknown,
  sources: Partial<SettingsSources> = {},
): Promise<Settings> {
  return loadSettings({
    registry: makeRegistry(),
    directory,
    environment: {},
    ...(overrides === undefined ? {} : { overrides: overrides as SettingsInput }),
    ...sources,
  });
}

/** All that a log could show of an error. */
export function shownOf(error: StorageError): string {
  return [
    JSON.stringify(error),
    inspect(error, { depth: Infinity }),
    error.message,
    error.stack,
    inspect(error.cause),
  ].join();
}

export async function faultsOf(work: Promise<unknown>): Promise<{ error: StorageError; keys: string[] }> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isStorageError(error, 'CONFIGURATION')) throw new Error(`expected CONFIGURATION, got ${String(error)}`);
  return { error, keys: (error.details['faults'] as { key: string }[]).map(({ key }) => key) };
}
