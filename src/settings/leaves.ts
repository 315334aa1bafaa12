/** A tree of settings as its leaves, each with where it comes from. */
import { isPlainObject } from '../filter/json.js';

export interface Leaf {
  readonly path: readonly string[];
  readonly value: unknown;
  /** For faults: `quartermaster.yaml`, `the variable STORAGE_TENANCY`, `the settings passed in`. */
  readonly source: string;
  /** From the environment: a number is written as text there. */
  readonly isText: boolean;
}

/** One source of settings. `groups` are the objects in it, also the empty ones: `vectors: { chroma: {} }` says something. */
export interface Layer {
  readonly leaves: readonly Leaf[];
  readonly groups: readonly (readonly string[])[];
  /** Where the groups of a tree come from. */
  readonly source?: string | undefined;
}

/**
 * @returns the leaves of a tree; arrays and whatever is no plain object are leaves. What is `undefined` is not given, but for
 * the databases, one of them or its URL: who writes `process.env.DB` there means a database, and not the embedded one.
 */
export function leavesOf(tree: unknown, source: string): Layer {
  const leaves: Leaf[] = [];
  const groups: (readonly string[])[] = [];
  const visit = (value: unknown, path: readonly string[]): void => {
    const isDatabase = path.length === 2 && path[0] === 'databases';
    if (value === undefined && !isDatabase && !isDatabases(path) && !isDatabaseUrl(path)) return;
    if (isPlainObject(value) && path.length < 16) {
      groups.push(path);
      for (const key of Object.keys(value)) visit(value[key], [...path, canonical(key, path)]);
    } else if (isDatabase && (typeof value === 'string' || value === undefined)) {
      leaves.push({ path: [...path, 'url'], value, source, isText: false });
    } else {
      leaves.push({ path, value, source, isText: false });
    }
  };
  visit(tree, []);
  return { leaves, groups, source };
}

function isDatabases(path: readonly string[]): boolean {
  return path.length === 1 && path[0] === 'databases';
}

function isDatabaseUrl(path: readonly string[]): boolean {
  return path.length === 3 && path[0] === 'databases' && path[2] === 'url';
}

/** The names of vector providers are case-insensitive. */
function canonical(key: string, parent: readonly string[]): string {
  return parent.length === 1 && parent[0] === 'vectors' ? key.toLowerCase() : key;
}

/** The second segments under a group: the names of databases, of providers. */
export function namesUnder(group: string, layers: readonly Layer[]): Set<string> {
  const names = new Set<string>();
  for (const { leaves, groups } of layers)
    for (const path of [...groups, ...leaves.map((leaf) => leaf.path)])
      if (path[0] === group && path[1] !== undefined) names.add(path[1]);
  return names;
}

/** The leaf that counts at a path: that of the last layer. */
export function leafIn(layers: readonly Layer[], path: string): Leaf | undefined {
  return layers.flatMap(({ leaves }) => leaves).findLast((leaf) => leaf.path.join('.') === path);
}

export function valueIn(layers: readonly Layer[], path: string): unknown {
  return leafIn(layers, path)?.value;
}

/** Where a setting, or the first of a group, is said: the source of a fault. */
export function sourceOf(layers: readonly Layer[], path: string): string {
  const isAt = (leaf: Leaf): boolean => `${leaf.path.join('.')}.`.startsWith(`${path}.`);
  const leaf = layers.flatMap(({ leaves }) => leaves).findLast(isAt);
  const group = layers.findLast(({ groups }) => groups.some((group) => group.join('.') === path));
  return leaf?.source ?? group?.source ?? 'the settings';
}
