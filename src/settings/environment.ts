/** Settings from the environment: `STORAGE_` and the path in capitals, and names that people already have set. */
import { STORE_SETTINGS } from '../adapters/settings.js';
import type { Registry } from '../registry.js';
import type { Fault } from './faults.js';
import type { Layer, Leaf } from './leaves.js';
import type { Schema } from './schema.js';
import { isUrlPath } from './urls.js';
import { distance } from './values.js';

/**
 * Read beside `STORAGE_DATABASES_..._URL`. The machine may have them for other programs: where files or the host name
 * databases, they give a URL to one of those, and add none.
 */
const DATABASE_URLS: readonly (readonly [variable: string, database: string])[] = [
  ['DATABASE_URL', 'main'],
  ['POSTGRES_CONNECTION_STRING', 'main'],
  ['MONGODB_URI', 'mongo'],
];
/** Other programs have variables that begin with STORAGE_ too: only these groups are ours. */
const GROUPS = [
  ...['DATABASES', 'STORES', 'VECTORS', 'HEALTH', 'LIFECYCLE', 'TENANCY', 'DEFAULT_TENANT'],
  ...Object.keys(STORE_SETTINGS).map(capitals),
];
/** In these a name comes before the setting. */
const OF_NAMES = ['DATABASES', 'VECTORS'];
const OURS = new RegExp(`^STORAGE_(?:${GROUPS.join('|')})_`);

export type Variables = Readonly<Record<string, string | undefined>>;

function leaf(path: string, value: string, variable: string): Leaf {
  return { path: path.split('.'), value, source: `the variable ${variable}`, isText: true };
}

/** The value of a variable; an empty one is absent. */
export function setIn(environment: Variables, variable: string): string | undefined {
  const value = environment[variable];
  return value?.trim() === '' ? undefined : value;
}

/** A secret that was made by `echo` ends with its line: what stands around a URL is no part of it. */
function urlIn(environment: Variables, variable: string): string | undefined {
  return setIn(environment, variable)?.trim();
}

/**
 * What decides the shape of the schema: which databases and providers there are.
 * @param named the databases of the files and of the host.
 */
export function readNames(environment: Variables, registry: Registry, named: ReadonlySet<string>): Layer {
  const leaves: Leaf[] = [];
  const groups: string[][] = [];
  for (const [variable, database] of DATABASE_URLS) {
    const url = named.size === 0 || named.has(database) ? urlIn(environment, variable) : undefined;
    // Another program may have it for a database that this version does not know; `main` is always meant for us.
    const scheme = url?.slice(0, url.indexOf(':')).toLowerCase() ?? '';
    if (url !== undefined && (database === 'main' || registry.knownSchemes().includes(scheme)))
      leaves.push(leaf(`databases.${database}.url`, url, variable));
  }
  for (const variable of Object.keys(environment)) {
    const value = setIn(environment, variable);
    if (value === undefined) continue;
    const database = /^STORAGE_DATABASES_([A-Z0-9_]+)_URL$/.exec(variable)?.[1];
    const url = database === undefined ? undefined : urlIn(environment, variable);
    if (url !== undefined) leaves.push(leaf(`databases.${database!.toLowerCase()}.url`, url, variable));
    if (variable === 'STORAGE_VECTORS_DEFAULT' || variable === 'STORAGE_STORES_DEFAULT')
      leaves.push(leaf(variable === 'STORAGE_VECTORS_DEFAULT' ? 'vectors.default' : 'stores.default', value, variable));
    const provider = providerOf(variable, registry);
    if (provider !== undefined) groups.push(['vectors', provider]);
  }
  return { leaves, groups };
}

/** Where one provider's name begins with another's, the longer one is meant. */
function providerOf(variable: string, registry: Registry): string | undefined {
  return registry
    .names()
    .providers.filter((provider) => variable.startsWith(`STORAGE_VECTORS_${capitals(provider)}_`))
    .reduce<string | undefined>((best, name) => (name.length > (best?.length ?? 0) ? name : best), undefined);
}

/** Every variable that names a setting of the schema. Two that disagree, and ours that name none, are faults. */
export function readVariables(environment: Variables, schema: Schema, names: Layer, faults: Fault[]): Layer {
  const leaves = new Map<string, Leaf>();
  const put = (found: Leaf): void => {
    const path = found.path.join('.');
    const other = leaves.get(path);
    if (other !== undefined && other.value !== found.value)
      faults.push({
        key: path,
        expected: `one value, not those of ${other.source} and ${found.source}`,
        actual: 'two',
        source: 'the environment',
      });
    leaves.set(path, found);
  };
  names.leaves.forEach(put);
  const known = new Set<string>();
  for (const [path, spec] of schema) {
    const own = `STORAGE_${path.split('.').map(capitals).join('_')}`;
    known.add(own);
    for (const variable of [own, ...(spec.env ?? [])]) {
      const value = (isUrlPath(path) ? urlIn : setIn)(environment, variable);
      if (value !== undefined) put(leaf(path, value, variable));
    }
  }
  for (const variable of Object.keys(environment)) {
    if (known.has(variable) || setIn(environment, variable) === undefined) continue;
    // The short form of a database is one of files and arguments.
    const near = known.has(`${variable}_URL`) ? `${variable}_URL` : nearest(variable, known);
    const beside = near === undefined ? ofSameDatabase(variable, known) : '';
    if (!OURS.test(variable) && near === undefined && !isNearlyOurs(variable, known)) continue;
    faults.push({
      key: variable,
      expected: `a variable that names a setting${near === undefined ? beside : `; do you mean ${near}?`}`,
      actual: 'an unknown name',
      source: 'the environment',
    });
  }
  return { leaves: [...leaves.values()], groups: [] };
}

function nearest(variable: string, known: ReadonlySet<string>): string | undefined {
  if (!variable.startsWith('STORAGE_')) return undefined;
  const isNear = (name: string): boolean => distance(name, variable) <= 2 || variable.startsWith(`${name}_`);
  return [...known].find(isNear);
}

/** What there is of a database of this URL, where the variable is of one: another backend may have the setting. */
function ofSameDatabase(variable: string, known: ReadonlySet<string>): string {
  const groups = [...known]
    .filter((name) => /^STORAGE_DATABASES_.*_CRITICAL$/.test(name))
    .map((name) => name.slice(0, -8));
  const group = groups.find((start) => variable.startsWith(start));
  if (group === undefined) return '';
  return `; with its URL there are ${[...known].filter((name) => name.startsWith(group)).join(', ')}`;
}

/**
 * A group with one letter wrong is meant for us where a path of the group follows: a URL passed over would leave the data in
 * the embedded database. STORAGE_STORE_NAME is another program's.
 */
function isNearlyOurs(variable: string, known: ReadonlySet<string>): boolean {
  const [, group = '', rest = ''] = /^STORAGE_([A-Z]+)_(.+)$/.exec(variable) ?? [];
  return GROUPS.filter((name) => distance(name, group) <= 1).some((name) =>
    OF_NAMES.includes(name) ? /^URL$|_/.test(rest) : nearest(`STORAGE_${name}_${rest}`, known) !== undefined,
  );
}

function capitals(segment: string): string {
  return segment
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace(/-/g, '_')
    .toUpperCase();
}
