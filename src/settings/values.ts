/** Each leaf against its setting; the tree of what is valid. */
import type { SettingSpec } from '../component.js';
import { gotName, typeName } from '../type-name.js';
import { shownKey, type Fault } from './faults.js';
import type { Layer, Leaf } from './leaves.js';
import type { Schema } from './schema.js';
import { CLEAN_URL, isUnclean, isUrlPath } from './urls.js';

type Tree = Record<string, unknown>;

/** The settings of these layers, the last one winning, with the defaults of the schema. Every wrong leaf is a fault. */
export function resolveValues(layers: readonly Layer[], schema: Schema, faults: Fault[]): Tree {
  const values = new Map<string, unknown>();
  for (const [path, spec] of schema) values.set(path, spec.default);
  // What the library's defaults give a value can be changed, but not taken away with `null`.
  const needed = new Set(layers[0]?.leaves.map(({ path }) => path.join('.')));
  for (const leaf of layers.flatMap(({ leaves }) => leaves)) {
    const path = leaf.path.join('.');
    const spec = schema.get(path);
    if (spec === undefined) faults.push(unknownKey(leaf, path, schema));
    else {
      const value = leaf.isText ? fromText(leaf.value as string, spec) : leaf.value;
      const expected = value === null && needed.has(path) ? describe(spec) : mismatch(value, spec, path);
      if (expected === undefined) values.set(path, value);
      else faults.push({ key: path, expected, actual: gotName(value, expected), source: leaf.source });
    }
  }
  for (const layer of layers) faults.push(...emptyUnknown(layer, schema));
  const tree: Tree = {};
  for (const [path, value] of values) put(tree, path.split('.'), value);
  return tree;
}

/** A group that there is not is no better for having nothing in it. */
function emptyUnknown({ leaves, groups, source = 'the settings' }: Layer, schema: Schema): Fault[] {
  const known = new Set([...schema.keys(), ...leaves.map(({ path }) => path[0])].map((key) => key!.split('.', 1)[0]));
  return groups
    .filter((path) => path.length === 1 && !known.has(path[0]))
    .map((path) => unknownKey({ path, value: {}, source, isText: false }, path[0]!, schema));
}

function put(tree: Tree, path: readonly string[], value: unknown): void {
  const [key, ...rest] = path;
  if (key === undefined) return;
  if (rest.length === 0) {
    tree[key] = value;
    return;
  }
  // A database may be named `constructor`: what an object inherits is not a group of settings.
  if (!Object.hasOwn(tree, key)) tree[key] = {};
  put(tree[key] as Tree, rest, value);
}

function unknownKey({ path: segments, value, source }: Leaf, path: string, schema: Schema): Fault {
  const keys = [...schema.keys()];
  if (keys.some((key) => key.startsWith(`${path}.`)))
    return { key: path, expected: 'an object of settings', actual: typeName(value), source };
  const parent = segments.slice(0, -1).join('.');
  if (schema.has(parent)) return { key: parent, expected: describe(schema.get(parent)!), actual: 'an object', source };
  // Of three letters, two that differ make another word.
  const most = Math.min(2, segments.at(-1)!.length >> 1);
  const near = keys.find((key) => distance(key.toLowerCase(), path.toLowerCase()) <= most) ?? nearGroup(segments, keys);
  const siblings = [
    ...new Set(
      keys
        .filter((key) => parent === '' || key.startsWith(`${parent}.`))
        .map((key) => key.slice(parent === '' ? 0 : parent.length + 1).split('.')[0]!),
    ),
  ];
  const expected =
    near === undefined
      ? `a known key${siblings.length > 0 ? ` (${siblings.join(', ')})` : ''}`
      : `a known key; do you mean ${near}?`;
  return { key: shownKey(segments), expected, actual: 'an unknown key', source };
}

/** The path in the group that its first name is nearly. */
function nearGroup([first = '', ...rest]: readonly string[], keys: readonly string[]): string | undefined {
  const groups = new Set(keys.map((key) => key.split('.', 1)[0]!));
  const near = groups.has(first) ? undefined : [...groups].find((group) => distance(group, first.toLowerCase()) <= 2);
  return near === undefined ? undefined : shownKey([near, ...rest]);
}

function fromText(text: string, { format }: SettingSpec): unknown {
  if (format === 'boolean') return text === 'true' ? true : text === 'false' ? false : text;
  if (['nat', 'positive', 'int', 'port', 'number', 'seconds', 'milliseconds', 'timeout'].includes(format as string))
    return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
  return text;
}

/** What was expected, when the value does not fit. */
function mismatch(value: unknown, spec: SettingSpec, path: string): string | undefined {
  if (value === null && spec.default === null && spec.format !== 'boolean') return undefined;
  // Only the URL of a database comes here so, and its fault is told where the databases are.
  if (value === undefined) return undefined;
  if (!fits(value, spec.format)) return describe(spec);
  // That of a database is told where the databases are.
  return isUrlPath(path) && path.startsWith('vectors.') && isUnclean(value as string) ? CLEAN_URL : undefined;
}

function fits(value: unknown, format: SettingSpec['format']): boolean {
  if (typeof format !== 'string') return format.includes(value as string);
  switch (format) {
    case 'boolean':
      return typeof value === 'boolean';
    case 'string':
      return typeof value === 'string' && value !== '';
    case 'url':
      return typeof value === 'string' && URL.canParse(value);
    case 'number':
      return typeof value === 'number' && Number.isFinite(value);
    case 'seconds':
      return typeof value === 'number' && Number.isFinite(value) && value >= 0;
    case 'int':
      return Number.isSafeInteger(value);
    case 'nat':
      return Number.isSafeInteger(value) && (value as number) >= 0;
    case 'positive':
      return Number.isSafeInteger(value) && (value as number) >= 1;
    case 'port':
      return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= 65_535;
    case 'milliseconds':
    case 'timeout':
      // The longest delay a timer of Node takes.
      return (
        Number.isSafeInteger(value) &&
        (value as number) >= (format === 'timeout' ? 1 : 0) &&
        (value as number) < 2 ** 31
      );
  }
}

function describe({ format }: SettingSpec): string {
  if (typeof format !== 'string') return `one of ${format.join(', ')}`;
  const words = {
    boolean: 'true or false',
    string: 'a string that is not empty',
    url: 'a URL',
    number: 'a number',
    int: 'a whole number',
    nat: 'a whole number, 0 or more',
    positive: 'a whole number, 1 or more',
    port: 'a port from 0 to 65535',
    seconds: 'a number of seconds, 0 or more',
    milliseconds: 'a whole number of milliseconds, 0 or more',
    timeout: 'a whole number of milliseconds, 1 or more',
  };
  return words[format];
}

/** Levenshtein's, for suggestions. */
export function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}
