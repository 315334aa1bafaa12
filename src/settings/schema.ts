/** The tree that settings may form: the library's own part, and the fragments of the databases and providers in use. */
import { STORE_NAMES, STORE_SETTINGS } from '../adapters/settings.js';
import type { SettingsFragment, SettingSpec } from '../component.js';
import { typeName } from '../type-name.js';
import type { PoolDriver } from '../pools/pool.js';
import type { Registry } from '../registry.js';
import { shownKey, type Fault } from './faults.js';
import { leafIn, namesUnder, sourceOf, valueIn, type Layer } from './leaves.js';
import { CLEAN_URL, isUnclean } from './urls.js';

/** By dotted path. */
export type Schema = ReadonlyMap<string, SettingSpec>;

const DATABASE_NAME = /^[a-z][a-z0-9_]{0,47}$/;

// Their values stand in defaults.ts.
const OWN: SettingsFragment = {
  stores: {
    default: { doc: 'The database of collections and stores that name none.', format: 'string', default: null },
    ...Object.fromEntries(
      STORE_NAMES.map((name) => [name, { doc: `The database of ${name}.`, format: 'string', default: null } as const]),
    ),
  },
  ...STORE_SETTINGS,
  tenancy: { doc: "Whether the manager's own stores may be used.", format: ['optional', 'required'], default: null },
  defaultTenant: { doc: 'Whose data it is when no tenant is named.', format: 'string', default: null },
  health: {
    timeout: { doc: 'How long one check may take.', format: 'timeout', default: null },
    cache: { doc: 'How long a result is answered again.', format: 'milliseconds', default: null },
  },
  lifecycle: {
    openTimeout: { doc: 'How long the opening may take.', format: 'timeout', default: null },
    drainTimeout: { doc: 'How long work in flight gets at a close.', format: 'milliseconds', default: null },
    operationTimeout: { doc: 'How long one operation may take.', format: 'timeout', default: null },
    schemaTimeout: { doc: 'How long a change of one table may take.', format: 'timeout', default: null },
    sweepInterval: { doc: 'How often expired records are deleted; 0: never.', format: 'milliseconds', default: null },
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
  const source = sourceOf(layers, at);
  if (!DATABASE_NAME.test(name)) {
    const expected = 'a name of the form [a-z][a-z0-9_]{0,47}';
    faults.push({ key: shownKey(['databases', name]), expected, actual: 'another name', source });
    return;
  }
  add(schema, { url: URL, critical: CRITICAL }, `${at}.`);
  const key = `${at}.url`;
  const leaf = leafIn(layers, key);
  const url = leaf?.value;
  if (typeof url !== 'string' || url === '') {
    const isGroup = layers.some(({ groups }) => groups.some((path) => path.join('.') === key));
    const actual = isGroup ? 'an object' : typeName(url);
    const expected = isGroup ? 'a URL (in YAML, one that ends in a colon needs quotes: "memory:")' : 'a URL';
    faults.push({ key, expected, actual, source });
    return;
  }
  const told = { key, source: leaf?.source ?? source };
  const scheme = /^[a-z][a-z0-9+.-]*(?=:)/i.exec(url.trim())?.[0].toLowerCase();
  if (scheme === undefined || !registry.knownSchemes().includes(scheme)) {
    const schemes = registry.knownSchemes().join(', ');
    const expected = `a URL that begins with its scheme, as sqlite:./data.db and memory: do (registered: ${schemes})`;
    faults.push({ ...told, expected, actual: scheme === undefined ? withoutScheme(url) : 'a URL of another scheme' });
    return;
  }
  const driver = await registry.poolForUrl(url.trim());
  add(schema, driver.settings ?? {}, `${at}.`);
  const expected = isUnclean(url) ? CLEAN_URL : refusal(driver, url);
  if (expected !== undefined) faults.push({ ...told, expected, actual: 'another URL' });
}

/** What comes of files that a shell would have read. */
function withoutScheme(url: string): string {
  if (/^\s*["'`]/.test(url)) return 'text in quotes, which are a part of it here';
  return url.includes('${') ? 'text with ${...}, which nothing replaces here' : 'text without a scheme';
}

/** What a pool says against a URL. What it throws is not kept: the error of `new URL()` holds the whole of it. */
function refusal(driver: PoolDriver, url: string): string | undefined {
  try {
    const fault = driver.checkUrl(url);
    // Some say what they expect, others what is wrong.
    return fault === undefined || fault.startsWith('expected ') ? fault?.slice(9) : `a usable URL (${fault})`;
  } catch {
    return `a URL that the pool ${driver.name} can read`;
  }
}

/** The default provider, those that are configured, and those that a third party registered: importing one asks for it. */
async function addProviders(
  schema: Map<string, SettingSpec>,
  layers: readonly Layer[],
  registry: Registry,
  faults: Fault[],
): Promise<void> {
  const named = namesUnder('vectors', layers);
  named.delete('default');
  const names = new Set([...named, ...registry.addedProviders()]);
  const chosen = await defaultProvider(layers, registry, names);
  if (chosen !== undefined) names.add(chosen);
  const doc = 'The provider of storage.vectors() without a name.';
  schema.set('vectors.default', { doc, format: 'string', default: chosen ?? null });
  const database = valueIn(layers, 'stores.default');
  for (const name of names) {
    if (!registry.hasProvider(name)) {
      const expected = `a registered vector provider (${registry.names().providers.join(', ')})`;
      // A provider that only the default names has no key of its own: the wrong value stands in `vectors.default`.
      const key = named.has(name) ? shownKey(['vectors', name]) : 'vectors.default';
      faults.push({ key, expected, actual: 'another name', source: sourceOf(layers, key) });
      continue;
    }
    const driver = await registry.provider(name);
    const at = `vectors.${name}.`;
    add(schema, { critical: CRITICAL, ...driver.settings }, at);
    if (driver.pooled !== true) continue;
    schema.set(`${at}database`, { doc: 'The database whose pool it rides on.', format: 'string', default: database });
    // As its database, which is known when all values are.
    schema.set(`${at}critical`, { ...CRITICAL, default: null });
  }
}

/** The one that is named, that of the default database, or the only one there is. */
async function defaultProvider(
  layers: readonly Layer[],
  registry: Registry,
  names: ReadonlySet<string>,
): Promise<string | undefined> {
  const named = valueIn(layers, 'vectors.default');
  if (typeof named === 'string' && named !== '') return named.toLowerCase();
  const url = valueIn(layers, `databases.${String(valueIn(layers, 'stores.default'))}.url`);
  // An unknown scheme is told where the databases are.
  const pool = typeof url === 'string' ? await registry.poolForUrl(url).catch(() => undefined) : undefined;
  return pool?.vectors ?? (names.size === 1 ? [...names][0] : undefined);
}
