/** Settings from files. A message never repeats a file's text, which may hold a secret. */
import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { foreignErrorName, StorageError, typeName } from '../errors.js';
import { isPlainObject } from '../filter/json.js';
import type { Fault } from './faults.js';
import { leavesOf, type Layer } from './leaves.js';

/**
 * The library's defaults: beside the package's manifest, wherever the compiled files stand below it. The manifest tells
 * whose `config/default.yaml` it is: hosts have files of that name too.
 */
export async function readDefaults(faults: Fault[]): Promise<Layer> {
  let directory = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    if (await isOwnPackage(directory))
      return parse(await readFile(join(directory, 'config', 'default.yaml'), 'utf8'), "the library's defaults", faults);
    if (dirname(directory) === directory)
      throw new StorageError('CONFIGURATION', "The library's own package.json is missing above its files");
    directory = dirname(directory);
  }
}

async function isOwnPackage(directory: string): Promise<boolean> {
  const manifest = await readFile(join(directory, 'package.json'), 'utf8').catch(() => undefined);
  return manifest !== undefined && /^\s*"name":\s*"quartermaster"/m.test(manifest);
}

/** @returns the file's settings; nothing, and a fault unless it may be missing, when it cannot be read. */
export async function readSettingsFile(
  directory: string,
  file: string,
  mayBeMissing: boolean,
  faults: Fault[],
): Promise<Layer> {
  try {
    return await parse(await readFile(resolve(directory, file), 'utf8'), file, faults);
  } catch (error) {
    const missing = (error as { code?: unknown }).code === 'ENOENT';
    if (!(missing && mayBeMissing))
      faults.push({
        key: file,
        expected: 'a readable file',
        actual: foreignErrorName(error),
        source: 'the file system',
      });
    return { leaves: [], groups: [] };
  }
}

/** What YAML makes of an unquoted `memory:`, which is a key without a value to it. */
const COLON: ReadonlySet<string> = new Set(['BLOCK_AS_IMPLICIT_KEY', 'BLOCK_IN_FLOW']);

async function parse(text: string, source: string, faults: Fault[]): Promise<Layer> {
  const { parseDocument } = await import('yaml');
  const document = parseDocument(text, { logLevel: 'silent' });
  // A warning is about an unknown tag: a password that begins with `!` would be read as an empty text.
  const [error] = [...document.errors, ...document.warnings];
  if (error !== undefined) {
    const line = error.linePos?.[0].line;
    const hint = COLON.has(error.code)
      ? ' (a text that ends in a colon, or has one before a space, needs quotes: "memory:")'
      : '';
    const actual = `${error.code}${line === undefined ? '' : ` in line ${line}`}${hint}`;
    faults.push({ key: source, expected: 'YAML', actual, source });
    return { leaves: [], groups: [] };
  }
  let tree: unknown;
  try {
    tree = document.toJS({ maxAliasCount: 100 });
  } catch {
    const actual = 'an alias of nothing, or too many of them (text that begins with * needs quotes)';
    faults.push({ key: source, expected: 'YAML', actual, source });
    return { leaves: [], groups: [] };
  }
  if (tree !== null && !isPlainObject(tree))
    faults.push({ key: source, expected: 'an object of settings', actual: typeName(tree), source });
  return isPlainObject(tree) ? leavesOf(tree, source) : { leaves: [], groups: [] };
}
