/** Opens PGlite: loads the packages, locks the directory, creates the database once. */
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PGlite } from '@electric-sql/pglite';
import { aborted } from '../../clock.js';
import type { OpenContext } from '../../component.js';
import { isStorageError, StorageError } from '../../errors.js';
import { isDiskFull } from './errors.js';
import { type DirectoryLock, lockDirectory } from '../directory-lock.js';
import type { Serialize } from './statements.js';
import { parsers, serializers } from './values.js';

/** What every archive has in its first header (POSIX.1-1988, ustar). */
const TAR = { magic: 'ustar', at: 257 } as const;

/** Paths are absolute. */
export interface DatabasePlace {
  /** Absent: in memory. */
  readonly directory?: string;
  /** What a database that is not there yet begins with: a file of `backup`, or of PGlite's own `dumpDataDir('none')`. */
  readonly dump?: string;
}

export interface Database {
  readonly client: PGlite;
  readonly serialize: Serialize;
  /** Absent for a database in memory. */
  readonly lock: DirectoryLock | undefined;
  /** Set when the engine has died (it panics when the disk is full): the next statement would never return. */
  stopped: StorageError | undefined;
}

/** Why no statement may be sent any more. */
export function unusable({ stopped, lock }: Database): StorageError | undefined {
  return stopped ?? lock?.lost;
}

export function inTransaction({ client, stopped }: Database): boolean {
  return stopped === undefined && !client.closed && client.isInTransaction();
}

export async function rollBack({ client, stopped }: Database): Promise<void> {
  if (stopped !== undefined) return;
  // It fails when the database was closed under the transaction, which rolled it back.
  await client.exec('ROLLBACK').catch(() => undefined);
}

/** Never rejects. */
export async function closeDatabase({ client, stopped }: Database): Promise<void> {
  if (stopped === undefined) await client.close().catch(() => undefined);
  else abandon(client);
}

/** Ends an engine that must not run again: its open files, and its timers, which would keep the process alive. */
function abandon(client: PGlite): void {
  try {
    // Not there when the engine could not even be loaded.
    const engine = client.Module as PGlite['Module'] | undefined;
    engine?._emscripten_force_exit(0);
  } catch {
    // The engine reports that it has ended by an exception.
  }
}

/**
 * @throws `DEPENDENCY_MISSING`, `UNAVAILABLE` (in use), `CONFIGURATION` (not a directory of ours, not writable; no dump),
 * `ABORTED`.
 */
export async function openDatabase(
  { directory, dump }: DatabasePlace,
  context: OpenContext,
  component: string,
): Promise<Database> {
  const packages = await loadPackages(component);
  const { serialize } = packages;
  const options = { parsers, serializers, extensions: { vector: packages.vector } };
  const beginning = async (): Promise<{ loadDataDir?: Blob }> =>
    dump === undefined ? {} : { loadDataDir: await readDump(dump, component) };
  if (directory === undefined) {
    const client = await start(packages.PGlite, { ...options, ...(await beginning()) }, context, component);
    return { client, serialize, lock: undefined, stopped: undefined };
  }
  let lock: DirectoryLock | undefined;
  try {
    await mkdir(directory, { recursive: true });
    lock = await lockDirectory(join(directory, 'lock'), context.clock, component);
    const created = await prepare(directory, component);
    const loaded = created === undefined ? {} : await beginning();
    const dataDir = `file://${join(directory, 'data')}`;
    const client = await start(packages.PGlite, { ...options, ...loaded, dataDir }, context, component);
    const database: Database = { client, serialize, lock, stopped: undefined };
    try {
      await created?.();
      return database;
    } catch (error) {
      await closeDatabase(database);
      throw error;
    }
  } catch (error) {
    await lock?.release();
    throw openError(error, directory, component);
  }
}

async function readDump(file: string, component: string): Promise<Blob> {
  const options = { component, operation: 'open' };
  let dump: Buffer;
  try {
    dump = await readFile(file);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new StorageError('CONFIGURATION', `The backup ${file} cannot be read (${code ?? 'unknown'})`, {
      ...options,
      cause,
    });
  }
  // PGlite takes what is no archive for a compressed one, and the fault of that is nobody's to catch.
  if (dump.toString('latin1', TAR.at, TAR.at + TAR.magic.length) !== TAR.magic)
    throw new StorageError('CONFIGURATION', `${file} is no backup of a PGlite`, options);
  return new Blob([dump]);
}

async function loadPackages(component: string) {
  try {
    const [{ PGlite, protocol }, { vector }] = await Promise.all([
      import('@electric-sql/pglite'),
      import('@electric-sql/pglite-pgvector'),
    ]);
    return { PGlite, serialize: protocol.serialize as Serialize, vector };
  } catch (cause) {
    throw new StorageError(
      'DEPENDENCY_MISSING',
      'PGlite cannot be loaded; run: npm install @electric-sql/pglite @electric-sql/pglite-pgvector',
      { component, cause },
    );
  }
}

type PGliteClass = typeof PGlite;

/** After a directory that was not closed it would tell of its progress every ten seconds, by a timer that nothing ends: no process would end by itself. */
const NO_PROGRESS = ['-c', 'log_startup_progress_interval=0'];

async function start(
  PGlite: PGliteClass,
  options: ConstructorParameters<PGliteClass>[0] & object,
  { signal }: OpenContext,
  component: string,
): Promise<PGlite> {
  if (signal.aborted) throw aborted(signal, 'open');
  const client = new PGlite({ ...options, startParams: [...PGlite.defaultStartParams, ...NO_PROGRESS] });
  try {
    await client.waitReady;
  } catch (cause) {
    abandon(client);
    if (isDiskFull(cause))
      throw new StorageError('STORAGE_FULL', 'No room is left for the database', { component, cause });
    throw new StorageError('INTERNAL', 'PGlite could not start on its data directory', {
      component,
      operation: 'open',
      cause,
    });
  }
  if (!signal.aborted) return client;
  await client.close();
  throw aborted(signal, 'open');
}

/**
 * Makes the data directory ready. PGlite copies a new database into it file by file: a marker tells a copy that was cut
 * short, which holds nothing yet, from a database.
 * @returns what to call when the database has started; `undefined` where it is there already.
 */
async function prepare(directory: string, component: string): Promise<(() => Promise<void>) | undefined> {
  const data = join(directory, 'data');
  const marker = join(directory, 'data.creating');
  if (await exists(marker)) await rm(data, { recursive: true, force: true });
  else if (await exists(join(data, 'PG_VERSION'))) return undefined;
  else if ((await readdir(data).catch(() => [])).length > 0)
    throw new StorageError('CONFIGURATION', `${data} holds something other than a database`, { component });
  await writeFile(marker, '');
  return () => rm(marker);
}

export function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function openError(error: unknown, directory: string, component: string): StorageError {
  if (isStorageError(error)) return error;
  const { code } = error as NodeJS.ErrnoException;
  const options = { component, operation: 'open', cause: error, details: { directory, reason: code } };
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new StorageError('STORAGE_FULL', `No room is left for the database in ${directory}`, options);
  return new StorageError(
    'CONFIGURATION',
    `The database directory ${directory} cannot be used (${code ?? 'unknown'})`,
    options,
  );
}
