/** Settings: one tree from files, the environment and the host, validated whole. The only reader of either. */
import { resolve } from 'node:path';
import { types } from 'node:util';
import { STORE_NAMES, type StoreName, type StoreSettings } from './adapters/settings.js';
import { checkTenant } from './backends/value.js';
import { isStorageError, type StorageError } from './errors.js';
import { typeName } from './type-name.js';
import { isPlainObject } from './filter/json.js';
import type { OpenOptions } from './open-options.js';
import type { Registry } from './registry.js';
import { DEFAULTS } from './settings/defaults.js';
import { doubtsAbout } from './settings/doubts.js';
import { readNames, readVariables } from './settings/environment.js';
import { throwFaults, type Fault } from './settings/faults.js';
import { readSettingsFile } from './settings/files.js';
import { leavesOf, namesUnder, sourceOf, type Layer } from './settings/leaves.js';
import { mask, sealed } from './settings/masking.js';
import { composeSchema, type Schema } from './settings/schema.js';
import { resolveValues } from './settings/values.js';

export interface DatabaseSettings {
  /** Its scheme picks the pool. Masked when shown. */
  readonly url: string;
  /** Whether the manager is unhealthy without it. Default: true. */
  readonly critical: boolean;
  /** The pool's own options. */
  readonly [option: string]: unknown;
}

export interface ProviderSettings {
  readonly critical: boolean;
  readonly [option: string]: unknown;
}

/** Valid, complete and frozen; `JSON.stringify` and `util.inspect` show it with its secrets masked. */
export interface Settings extends StoreSettings {
  readonly databases: Readonly<Record<string, DatabaseSettings>>;
  /** Names of databases. */
  readonly stores: { readonly default: string } & { readonly [store in StoreName]: string | null };
  readonly vectors: {
    /** Absent where the default database has no vectors and none is named. */
    readonly default: string | undefined;
    readonly providers: Readonly<Record<string, ProviderSettings>>;
  };
  readonly tenancy: 'optional' | 'required';
  readonly defaultTenant: string;
  /** Milliseconds. */
  readonly health: { readonly timeout: number; readonly cache: number };
  /** Milliseconds. */
  readonly lifecycle: {
    readonly openTimeout: number;
    readonly drainTimeout: number;
    readonly operationTimeout: number;
    readonly schemaTimeout: number;
    readonly sweepInterval: number;
  };
}

type Options = Readonly<Record<string, unknown>>;

/** Beside it stand the pool's own options; a host's interface of them has no index signature, and fits too. */
interface DatabaseInput {
  readonly url: string;
  readonly critical?: boolean | undefined;
}

type GroupsInput = {
  readonly [Group in keyof StoreSettings]?:
    { readonly [Key in keyof StoreSettings[Group]]?: StoreSettings[Group][Key] | undefined } | undefined;
};

/** What a host passes or writes in a file: any part of the tree. */
export interface SettingsInput extends GroupsInput {
  /** A string is short for `{ url }`. Here `undefined` is a fault: it would open the embedded database in place of another. */
  readonly databases?: Readonly<Record<string, string | (DatabaseInput & Options) | DatabaseInput>>;
  /** Names of databases. */
  readonly stores?: { readonly [store in StoreName | 'default']?: string | undefined } | undefined;
  /** `default` names a provider; the others are the providers' own settings. */
  readonly vectors?:
    | ({ readonly default?: string | undefined } & { readonly [provider: string]: string | object | undefined })
    | undefined;
  readonly tenancy?: 'optional' | 'required' | undefined;
  readonly defaultTenant?: string | undefined;
  readonly health?: { readonly timeout?: number | undefined; readonly cache?: number | undefined } | undefined;
  readonly lifecycle?:
    | {
        readonly openTimeout?: number | undefined;
        readonly drainTimeout?: number | undefined;
        readonly operationTimeout?: number | undefined;
        readonly schemaTimeout?: number | undefined;
        readonly sweepInterval?: number | undefined;
      }
    | undefined;
}

export interface SettingsSources extends OpenOptions {
  readonly registry: Registry;
  /** Wins over everything. */
  readonly overrides?: SettingsInput | undefined;
}

/**
 * Sources, later wins: the library's defaults, `quartermaster.yaml` (or `.yml`), `quartermaster.<NODE_ENV>.yaml`, `file`, the
 * environment, `overrides`. Without a directory only `file` is
 * read of the files. @throws `CONFIGURATION` with every fault at once: the key, the value's type, what was expected.
 */
export async function loadSettings(sources: SettingsSources): Promise<Settings> {
  const { registry, overrides, file, environment = process.env, directory } = sources;
  const faults: Fault[] = [];
  const read = (name: string, mayBeMissing: boolean): Promise<Layer> =>
    readSettingsFile(directory ?? process.cwd(), name, mayBeMissing, faults);
  const mode = environment['NODE_ENV'];
  const defaults = leavesOf(DEFAULTS, "the library's defaults");
  const conventional = async (name: string): Promise<Layer[]> => {
    if (directory === null) return [];
    const found = [await read(`${name}.yaml`, true), await read(`${name}.yml`, true)].filter(isSaid);
    if (found.length === 2) faults.push(twoNames(name));
    return found;
  };
  const files = [
    ...(await conventional('quartermaster')),
    ...(mode !== undefined && /^[\w-]+(?:\.[\w-]+)*$/.test(mode) ? await conventional(`quartermaster.${mode}`) : []),
    ...(file === undefined ? [] : [await read(file, false)]),
  ];
  const given = passedIn(overrides, faults);
  const names = readNames(environment, registry, namesUnder('databases', [...files, given]));
  const base = baseFor([...files, names, given], defaults);
  const schema = await composeSchema([base, ...files, names, given], registry, faults);
  const variables = readVariables(environment, schema, names, faults);
  const layers = [base, ...files, variables, given];
  const tree = resolveValues(layers, schema, faults);
  checkReferences(tree, layers, defaults, faults);
  checkDefaultTenant(tree, layers, faults);
  checkPools(tree, layers, faults);
  throwFaults(faults);
  inheritCritical(tree);
  const settings = seal(tree, schema);
  const urls = [
    ...Object.keys(settings.databases).map((name) => `databases.${name}.url`),
    ...Object.keys(settings.vectors.providers)
      .map((name) => `vectors.${name}.url`)
      .filter((key) => layers.some(({ leaves }) => leaves.some(({ path }) => path.join('.') === key))),
  ];
  urlSources.set(settings, new Map(urls.map((key) => [key, sourceOf(layers, key)])));
  const isEmbedded = base.leaves.some(({ path }) => path[0] === 'databases');
  const looked = directory === null ? undefined : resolve(directory ?? process.cwd(), 'quartermaster.yaml');
  doubts.set(settings, doubtsAbout({ environment, isEmbedded, file: looked }));
  return settings;
}

function isSaid({ leaves, groups }: Layer): boolean {
  return leaves.length + groups.length > 0;
}

function twoNames(name: string): Fault {
  const [key, other] = [`${name}.yml`, `${name}.yaml`];
  return { key, expected: `one of the two names, not a ${other} too`, actual: 'both', source: 'the file system' };
}

/** A provider that rides on a database and says nothing else is as critical as that is. */
function inheritCritical(tree: Tree): void {
  const databases = tree['databases'] as Readonly<Record<string, Tree>>;
  for (const provider of Object.values((tree['vectors'] ?? {}) as Tree))
    if (isPlainObject(provider) && provider['critical'] === null)
      provider['critical'] = databases[provider['database'] as string]?.['critical'] ?? true;
}

const urlSources = new WeakMap<Settings, ReadonlyMap<string, string>>();

/** What said a URL, by its key: `the variable DATABASE_URL`, `quartermaster.yaml`. */
export function urlSource(settings: Settings, key: string): string | undefined {
  return urlSources.get(settings)?.get(key);
}

/** The URL of a database, without its secrets. */
export function shownUrl(settings: Settings, database: string): unknown {
  return mask(settings.databases[database]?.url);
}

const doubts = new WeakMap<Settings, readonly StorageError[]>();

/** What is likely a mistake in them, to be told when they are used. */
export function settingsDoubts(settings: Settings): readonly StorageError[] {
  return doubts.get(settings) ?? [];
}

function passedIn(overrides: unknown, faults: Fault[]): Layer {
  const source = 'the settings passed in';
  if (overrides === undefined) return { leaves: [], groups: [] };
  if (isPlainObject(overrides) && !types.isProxy(overrides)) return leavesOf(overrides, source);
  faults.push({ key: 'settings', expected: 'an object of settings', actual: typeName(overrides), source });
  return { leaves: [], groups: [] };
}

/**
 * The defaults beside what a host says: the embedded database is for a host that names none, and a host's only database is
 * the default one whatever its name.
 */
function baseFor(layers: readonly Layer[], defaults: Layer): Layer {
  const [only, ...others] = namesUnder('databases', layers);
  if (only === undefined) return defaults;
  const leaves = defaults.leaves.filter(({ path }) => path[0] !== 'databases');
  if (only === 'main' || others.length > 0) return { leaves, groups: [] };
  return {
    leaves: leaves.map((leaf) => (leaf.path.join('.') === 'stores.default' ? { ...leaf, value: only } : leaf)),
    groups: [],
  };
}

type Tree = Record<string, unknown>;

/** A name of a database must be one. */
function checkReferences(tree: Tree, layers: readonly Layer[], defaults: Layer, faults: Fault[]): void {
  const databases = Object.keys(tree['databases'] ?? {});
  const check = (key: string, name: unknown): void => {
    if (typeof name === 'string' && !databases.includes(name))
      faults.push({
        key,
        expected: `the name of a database (${databases.join(', ')})`,
        actual: 'another name',
        source: sourceOf(layers, key),
      });
  };
  const store = (tree['stores'] as Tree | undefined)?.['default'];
  const isDefault = defaults.leaves.some(({ source }) => source === sourceOf(layers, 'stores.default'));
  if (isDefault && typeof store === 'string' && !databases.includes(store))
    faults.push({
      key: 'stores.default',
      expected: `one of the databases (${databases.join(', ')}) to be named as the default one: set stores.default`,
      actual: 'nothing',
      source: 'the settings',
    });
  else check('stores.default', store);
  for (const name of STORE_NAMES) check(`stores.${name}`, (tree['stores'] as Tree | undefined)?.[name]);
  for (const [name, provider] of Object.entries((tree['vectors'] ?? {}) as Tree))
    if (isPlainObject(provider)) check(`vectors.${name}.database`, provider['database']);
}

/** A pool cannot keep more connections than it may have. */
function checkPools(tree: Tree, layers: readonly Layer[], faults: Fault[]): void {
  for (const [name, database] of Object.entries((tree['databases'] ?? {}) as Record<string, Tree>)) {
    const { min, max } = (isPlainObject(database['pool']) ? database['pool'] : {}) as Tree;
    const key = `databases.${name}.pool.min`;
    if (typeof min !== 'number' || typeof max !== 'number' || min <= max) continue;
    const expected = `no more than databases.${name}.pool.max`;
    faults.push({ key, expected, actual: 'a greater number', source: sourceOf(layers, key) });
  }
}

function checkDefaultTenant(tree: Tree, layers: readonly Layer[], faults: Fault[]): void {
  const [key, tenant] = ['defaultTenant', tree['defaultTenant']];
  // One that is no text has its fault already.
  if (typeof tenant !== 'string') return;
  try {
    checkTenant(tenant);
  } catch (error) {
    if (!isStorageError(error, 'VALIDATION')) throw error;
    const { expected, actual } = error.details as Pick<Fault, 'expected' | 'actual'>;
    faults.push({ key, expected, actual, source: sourceOf(layers, key) });
  }
}

function seal(tree: Tree, schema: Schema): Settings {
  const { default: provider, ...providers } = (tree['vectors'] ?? {}) as Tree;
  const vectors = { default: typeof provider === 'string' ? provider.toLowerCase() : undefined, providers };
  const isSecret = (path: string): boolean =>
    schema.get(path.replace(/^vectors\.providers\./, 'vectors.'))?.sensitive === true;
  return sealed({ ...tree, vectors } as unknown as Settings, isSecret);
}

/** Whether both say the same; the order of keys does not count. */
export function sameSettings(a: Settings, b: Settings): boolean {
  return canonical(a) === canonical(b);
}

function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'undefined';
  const entries = Object.entries(value).sort(([x], [y]) => (x < y ? -1 : 1));
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join()}}`;
}
