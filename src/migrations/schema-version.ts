/** The version of the library's own tables and records, kept in each database. */
import type { RecordBackend } from '../backends/backend.js';
import { LIBRARY } from '../collection/library.js';
import type { OperationContext } from '../component.js';
import { StorageError } from '../errors.js';
import { MIGRATIONS } from './records.js';

/** What this version of the library reads and writes. It grows when an older one could not work with the data. */
export const SCHEMA_VERSION = 1;

const KEY = { collection: MIGRATIONS, id: 'schema' } as const;

/**
 * Refuses a database that a newer library has changed; notes the version in a new one. Once a database and opening.
 * @throws `MIGRATION` that says to upgrade.
 */
export async function checkSchemaVersion(backend: RecordBackend, context: OperationContext): Promise<void> {
  await backend.ensure([MIGRATIONS], context);
  let found = await readVersion(backend, context);
  if (found === undefined) {
    // Another process may be faster: what it wrote counts.
    await backend.write(
      LIBRARY,
      [{ ...KEY, kind: 'insert', value: { kind: 'schema', step: SCHEMA_VERSION } }],
      context,
    );
    found = await readVersion(backend, context);
  }
  if (typeof found === 'number' && found <= SCHEMA_VERSION) return;
  const shown = typeof found === 'number' ? `version ${found}` : 'an unknown version';
  throw new StorageError(
    'MIGRATION',
    `The database has ${shown} of the library's schema, and this library knows ${SCHEMA_VERSION}: upgrade quartermaster`,
    { component: backend.name, details: { found, known: SCHEMA_VERSION } },
  );
}

async function readVersion(backend: RecordBackend, context: OperationContext): Promise<unknown> {
  const [record] = await backend.read(LIBRARY, [KEY], context);
  return record?.value['step'];
}
