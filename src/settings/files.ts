/** Settings from files. A message never repeats a file's text, which may hold a secret. */
import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { foreignErrorName, typeName } from '../errors.js';
import { isPlainObject } from '../filter/json.js';
import type { Fault } from './faults.js';
import { leavesOf, type Layer } from './leaves.js';

/** The library's defaults: beside the package's manifest, wherever the compiled files stand below it. */
export async function readDefaults(faults: Fault[]): Promise<Layer> {
  let directory = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const text = await readFile(join(directory, 'config', 'default.yaml'), 'utf8').catch(() => undefined);
    if (text !== undefined) return parse(text, "the library's defaults", faults);
    if (dirname(directory) === directory) throw new Error('config/default.yaml is missing from the installed package');
    directory = dirname(directory);
  }
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

async function parse(text: string, source: string, faults: Fault[]): Promise<Layer> {
  const { parseDocument } = await import('yaml');
  const document = parseDocument(text, { logLevel: 'silent' });
  const [error] = document.errors;
  if (error !== undefined) {
    const line = error.linePos?.[0].line;
    const actual = `${error.code}${line === undefined ? '' : ` in line ${line}`}`;
    faults.push({ key: source, expected: 'YAML', actual, source });
    return { leaves: [], groups: [] };
  }
  const tree: unknown = document.toJS({ maxAliasCount: 100 });
  if (tree !== null && !isPlainObject(tree))
    faults.push({ key: source, expected: 'an object of settings', actual: typeName(tree), source });
  return isPlainObject(tree) ? leavesOf(tree, source) : { leaves: [], groups: [] };
}
