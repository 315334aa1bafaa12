/** What the provider needs of a database: the extension, in a version that scans on under a filter, and the catalogue. */
import type { OperationContext } from '../../component.js';
import { isStorageError, StorageError, UnsupportedError } from '../../errors.js';
import type { SqlPool } from '../../pools/pool.js';
import { CATALOGUE } from './tables.js';

/** The first with iterative scans: before it a search under a filter silently finds too little. */
const MIN_VERSION = { major: 0, minor: 8 } as const;
/** The extension's files are not on the server: by its control file, or by the list of what is available. */
const NOT_INSTALLED = ['58P01', '0A000'];

/**
 * Makes what is missing, once however many open at once. @returns the extension's version.
 * @throws `CONFIGURATION` when the server does not have pgvector or lets this user not create it, `UNSUPPORTED` when it is
 * too old.
 */
export async function prepareDatabase(pool: SqlPool, component: string, context: OperationContext): Promise<string> {
  const found = await readState(pool, context);
  if (found.version === undefined) await underLock(pool, context, (inside) => createExtension(pool, component, inside));
  const version = found.version ?? (await readState(pool, context)).version;
  requireVersion(version, component);
  if (!found.catalogue) await underLock(pool, context, (inside) => pool.script(CATALOGUE_DDL, inside));
  return version;
}

const CATALOGUE_DDL = `CREATE SCHEMA IF NOT EXISTS "quartermaster";
  CREATE TABLE IF NOT EXISTS ${CATALOGUE} (
    name text COLLATE "C" PRIMARY KEY, dimension integer NOT NULL, metric text NOT NULL,
    fields jsonb NOT NULL, "index" jsonb NOT NULL)`;

interface State {
  readonly version: string | undefined;
  readonly catalogue: boolean;
}

async function readState(pool: SqlPool, context: OperationContext): Promise<State> {
  const text =
    `SELECT (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'vector') AS version, ` +
    `to_regclass('${CATALOGUE}') IS NOT NULL AS catalogue`;
  const { rows } = await pool.query(text, [], context);
  return {
    version: (rows[0]?.['version'] ?? undefined) as string | undefined,
    catalogue: rows[0]?.['catalogue'] === true,
  };
}

/** `IF NOT EXISTS` alone fails most of several racers. The lock is that of all of the library's DDL. */
async function underLock(
  pool: SqlPool,
  context: OperationContext,
  work: (inside: OperationContext) => Promise<void>,
): Promise<void> {
  await pool.transaction({ context, isolation: 'snapshot' }, async (session) => {
    const inside = { ...context, session };
    await pool.query('SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0))', ['quartermaster'], inside);
    await work(inside);
  });
}

async function createExtension(pool: SqlPool, component: string, context: OperationContext): Promise<void> {
  try {
    await pool.script('CREATE EXTENSION IF NOT EXISTS vector', context);
  } catch (error) {
    const state = isStorageError(error) ? error.details['sqlstate'] : undefined;
    const options = { component, operation: 'open', cause: error };
    if (state === '42501')
      throw new StorageError(
        'CONFIGURATION',
        'This user may not create the extension pgvector; have an administrator of the database run: CREATE EXTENSION vector',
        options,
      );
    if (NOT_INSTALLED.includes(state as string))
      throw new StorageError(
        'CONFIGURATION',
        'The server does not have the extension pgvector; install it there',
        options,
      );
    throw error;
  }
}

function requireVersion(version: string | undefined, component: string): asserts version is string {
  const [major = 0, minor = 0] = (version ?? '').split('.').map(Number);
  if (version !== undefined && (major > MIN_VERSION.major || minor >= MIN_VERSION.minor)) return;
  throw new UnsupportedError(
    `pgvector ${MIN_VERSION.major}.${MIN_VERSION.minor} or newer is needed, and the database has ${version ?? 'none'}; ` +
      'after updating it on the server run: ALTER EXTENSION vector UPDATE',
    { component, operation: 'open', details: { version } },
  );
}
