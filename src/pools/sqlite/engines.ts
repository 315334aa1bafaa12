/** Which SQLite library is used: the one that was asked for, or the first that can be loaded and can be trusted. */
import { isStorageError, StorageError, UnsupportedError } from '../../errors.js';
import { loadBetterSqlite3 } from './better-sqlite3.js';
import { ENGINES, type EngineName, type OpenEngine } from './engine.js';
import { loadNodeSqlite, loadPhotostructure } from './node-sqlite.js';

export type EngineLoaders = Readonly<Record<EngineName, () => OpenEngine | Promise<OpenEngine>>>;

const LOADERS: EngineLoaders = {
  'better-sqlite3': loadBetterSqlite3,
  'node:sqlite': loadNodeSqlite,
  '@photostructure/sqlite': loadPhotostructure,
};

const REMEDIES: Readonly<Record<EngineName, string>> = {
  'better-sqlite3':
    'run: npm install better-sqlite3 (where install scripts are blocked, then: npm rebuild better-sqlite3 --ignore-scripts=false)',
  'node:sqlite': 'it needs Node 24 or later',
  '@photostructure/sqlite': 'run: npm install @photostructure/sqlite',
};

/**
 * @throws `DEPENDENCY_MISSING` when none can be loaded, `UNSUPPORTED` when its SQLite is too old or reads numbers wrong.
 */
export async function loadEngine(
  choice: EngineName | 'auto',
  component: string,
  loaders = LOADERS,
): Promise<OpenEngine> {
  if (choice !== 'auto') return load(choice, loaders[choice], component);
  let unsupported: StorageError | undefined;
  for (const name of ENGINES)
    try {
      return await load(name, loaders[name], component);
    } catch (error) {
      if (isStorageError(error, 'UNSUPPORTED')) unsupported ??= error;
    }
  if (unsupported !== undefined) throw unsupported;
  throw new StorageError(
    'DEPENDENCY_MISSING',
    `No SQLite library can be loaded; ${REMEDIES['better-sqlite3']}, or ${REMEDIES['@photostructure/sqlite']}`,
    { component, operation: 'open' },
  );
}

async function load(name: EngineName, loader: EngineLoaders[EngineName], component: string): Promise<OpenEngine> {
  let open: OpenEngine;
  let faults: string[];
  try {
    open = await loader();
    faults = probe(open);
  } catch (cause) {
    throw new StorageError('DEPENDENCY_MISSING', `${name} cannot be loaded (${reasonOf(cause)}); ${REMEDIES[name]}`, {
      component,
      operation: 'open',
      cause,
    });
  }
  if (faults.length > 0)
    throw new UnsupportedError(`The SQLite of ${name} ${faults.join(' and ')}`, { component, operation: 'open' });
  return open;
}

/** Numbers that parsers of several versions read as a neighbour: 3.45 the first two, 3.51 the small ones. 3.53 reads them all. */
const NUMBERS = [
  '0.3112906610273454',
  '0.31129066102734543',
  '2.1882340561239723e-93',
  '6.274046582098175e-169',
  '-1.5465607045586463e-308',
] as const;

/** What the statements need; the compiled part of a library is loaded here at the latest. */
function probe(open: OpenEngine): string[] {
  const database = open(':memory:');
  try {
    const faults: string[] = [];
    const ask = (text: string): unknown => database.prepare(text).all([])[0]?.['answer'];
    const version = String(ask('SELECT sqlite_version() AS answer'));
    const [major = 0, minor = 0] = version.split('.').map(Number);
    if (major * 1_000 + minor < 3_038) faults.push(`is ${version}, older than 3.38`);
    // The first versions of node:sqlite did not.
    if (typeof database.inTransaction !== 'boolean') faults.push('does not tell whether it is in a transaction');
    for (const text of NUMBERS)
      if (ask(`SELECT CAST('${text}' AS REAL) AS answer`) !== Number(text)) {
        faults.push(`(${version}) reads ${text} as another number`);
        break;
      }
    return faults;
  } finally {
    database.close();
  }
}

/** The first line of what the loader said: it names the missing module or file. */
function reasonOf(cause: unknown): string {
  const { message } = cause as { readonly message?: unknown };
  return typeof message === 'string' ? message.split('\n', 1)[0]!.slice(0, 200) : 'unknown';
}
