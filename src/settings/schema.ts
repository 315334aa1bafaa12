/** The tree that settings may form: the library's own part, and the fragments of the databases and providers in use. */
import type { SettingsFragment, SettingSpec } from '../component.js';
import { isStorageError, typeName } from '../errors.js';
import type { Registry } from '../registry.js';
import type { Fault } from './faults.js';
import { namesUnder, valueIn, type Layer } from './leaves.js';

/** By dotted path. */
export type Schema = ReadonlyMap<string, SettingSpec>;

const DATABASE_NAME = /^[a-z][a-z0-9_]{0,47}$/;

// Their values stand in config/default.yaml.
const OWN: SettingsFragment = {
  stores: { default: { doc: 'The database of collections that name none.', format: 'string', default: null } },
  tenancy: { doc: "Whether the manager's own stores may be used.", format: ['optional', 'required'], default: null },
  defaultTenant: { doc: 'Whose data it is when no tenant is named.', format: 'string', default: null },
  health: {
    timeout: { doc: 'How long one check may take.', format: 'milliseconds', default: null },
    cache: { doc: 'How long a result is answered again.', format: 'milliseconds', default: null },
  },
  lifecycle: {
    openTimeout: { doc: 'How long the opening may take.', format: 'milliseconds', default: null },
    drainTimeout: { doc: 'How long work in flight gets at a close.', format: 'milliseconds', default: null },
    operationTimeout: { doc: 'How long one operation may take.', format: 'milliseconds', default: null },
  },
};
const CRITICAL: SettingSpec = { doc: 'Whether the manager is unhealthy without it.', format: 'boolean', default: true };
const URL: SettingSpec = { doc: 'Its scheme picks the pool.', format: 'string', default: null, sensitive: true };

/** The schema for these layers. Databases and providers that cannot be told are faults. */
export async function composeSchema(layers: readonly Layer[], registry: Registry, faults: Fault[]): Promise<Schema> {
  const schema = new Map<string, SettingSpec>();
  add(schema, OWN, '');
  for (const name of namesUnder('databases', layers)) await addDatabase(schema, name, layers, registry, faults);
  await addProviders(schema, layers, registry, faults);
  return schema;
}

function add(schema: Map<string, SettingSpec>, fragment: SettingsFragment, at: string): void {
  for (const [key, entry] of Object.entries(fragment))
    if (isSpec(entry)) schema.set(at + key, entry);
    else add(schema, entry, `${at}${key}.`);
}

function isSpec(entry: SettingSpec | SettingsFragment): entry is SettingSpec {
  return typeof entry['doc'] === 'string';
}

async function addDatabase(
  schema: Map<string, SettingSpec>,
  name: string,
  layers: readonly Layer[],
  registry: Registry,
  faults: Fault[],
): Promise<void> {
  const at = `databases.${name}`;
  if (!DATABASE_NAME.test(name)) {
    faults.push({
      key: at,
      expected: 'a name of the form [a-z][a-z0-9_]{0,47}',
      actual: 'another name',
      source: 'databases',
    });
    return;
  }
  add(schema, { url: URL, critical: CRITICAL }, `${at}.`);
  const url = valueIn(layers, `${at}.url`);
  if (typeof url !== 'string' || url === '') {
    faults.push({
      key: `${at}.url`,
      expected: 'a URL',
      actual: url === '' ? 'an empty string' : typeName(url),
      source: 'databases',
    });
    return;
  }
  const key = `${at}.url`;
  try {
    const driver = await registry.poolForUrl(url);
    add(schema, driver.settings, `${at}.`);
    const wrong = driver.checkUrl(url);
    if (wrong !== undefined)
      faults.push({ key, expected: wrong.replace(/^expected /, ''), actual: 'another URL', source: 'databases' });
  } catch (error) {
    if (!isStorageError(error)) throw error;
    const expected = `a URL of a scheme that is registered (${registry.knownSchemes().join(', ')})`;
    faults.push({ key, expected, actual: 'a URL of another scheme', source: 'databases' });
  }
}

/** The default provider, those that are configured, and those that a third party registered: importing one asks for it. */
async function addProviders(
  schema: Map<string, SettingSpec>,
  layers: readonly Layer[],
  registry: Registry,
  faults: Fault[],
): Promise<void> {
  const names = new Set([...namesUnder('vectors', layers), ...registry.addedProviders()]);
  names.delete('default');
  const chosen = await defaultProvider(layers, registry);
  if (chosen !== undefined) names.add(chosen);
  const doc = 'The provider of storage.vectors() without a name.';
  schema.set('vectors.default', { doc, format: 'string', default: chosen ?? null });
  const database = valueIn(layers, 'stores.default');
  for (const name of names) {
    if (!registry.hasProvider(name)) {
      const expected = `a registered vector provider (${registry.names().providers.join(', ')})`;
      faults.push({ key: `vectors.${name}`, expected, actual: 'another name', source: 'vectors' });
      continue;
    }
    const driver = await registry.provider(name);
    const at = `vectors.${name}.`;
    add(schema, { critical: CRITICAL, ...driver.settings }, at);
    if (driver.pooled === true)
      schema.set(`${at}database`, { doc: 'The database whose pool it rides on.', format: 'string', default: database });
  }
}

async function defaultProvider(layers: readonly Layer[], registry: Registry): Promise<string | undefined> {
  const named = valueIn(layers, 'vectors.default');
  if (typeof named === 'string') return named.toLowerCase();
  const url = valueIn(layers, `databases.${String(valueIn(layers, 'stores.default'))}.url`);
  if (typeof url !== 'string') return undefined;
  // An unknown scheme is told where the databases are.
  return (await registry.poolForUrl(url).catch(() => undefined))?.vectors;
}
