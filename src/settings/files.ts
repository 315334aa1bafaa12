/** Settings from files. A message never repeats a file's text, which may hold a secret. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { foreignErrorName, StorageError } from '../errors.js';
import { typeName } from '../type-name.js';
import { isPlainObject } from '../filter/json.js';
import type { Fault } from './faults.js';
import { leavesOf, type Layer } from './leaves.js';

/** @returns the file's settings; nothing, and a fault unless it may be missing, when it cannot be read. */
export async function readSettingsFile(
  directory: string,
  file: string,
  mayBeMissing: boolean,
  faults: Fault[],
): Promise<Layer> {
  let text: string;
  try {
    text = await readFile(resolve(directory, file), 'utf8');
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
  return parse(text, file, faults);
}

/** What YAML makes of an unquoted `memory:`, which is a key without a value to it. */
const COLON: ReadonlySet<string> = new Set(['BLOCK_AS_IMPLICIT_KEY', 'BLOCK_IN_FLOW']);

async function parse(text: string, source: string, faults: Fault[]): Promise<Layer> {
  const { parseDocument } = await import('yaml').catch((cause: unknown) => {
    const message = `The package yaml cannot be loaded, which reads ${source}; run: npm install yaml`;
    throw new StorageError('DEPENDENCY_MISSING', message, { operation: 'open', cause });
  });
  // Not `silent`: a second document would be dropped without an error.
  const document = parseDocument(text, { logLevel: 'error' });
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
