/** What can be added to the server, and adding it. */
import type { OperationContext } from '../../../../component.js';
import { UnsupportedError } from '../../../../errors.js';
import type { SqlPool } from '../../../../pools/pool.js';
import type { ExtensionInfo } from '../../../operations.js';
import { quoted, shaped } from '../../catalogue-rows.js';
import { definitions } from '../definitions.js';

export async function extensions(pool: SqlPool, context: OperationContext): Promise<ExtensionInfo[]> {
  const { rows } = await pool.query(
    'SELECT name::text AS name, installed_version AS version, default_version AS "availableVersion" ' +
      'FROM pg_catalog.pg_available_extensions ORDER BY name COLLATE "C"',
    [],
    context,
  );
  return shaped(rows);
}

export async function ensureExtensions(
  pool: SqlPool,
  names: readonly string[],
  context: OperationContext,
): Promise<void> {
  const known = new Map((await extensions(pool, context)).map((extension) => [extension.name, extension]));
  const absent = names.filter((name) => !known.has(name));
  if (absent.length > 0)
    throw new UnsupportedError(`The server does not have the extensions ${absent.join(', ')}`, {
      component: pool.name,
      operation: 'ensureExtensions',
      details: { absent },
    });
  const missing = names.filter((name) => known.get(name)!.version === undefined);
  if (missing.length === 0) return;
  await pool.transaction({ context }, async (session) => {
    const inside = { ...context, session };
    // IF NOT EXISTS alone lets the second of two that meet fail.
    await definitions.lock(pool, inside);
    for (const name of missing) await pool.script(`CREATE EXTENSION IF NOT EXISTS ${quoted(name)} CASCADE`, inside);
  });
}
