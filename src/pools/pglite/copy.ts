/** Rows by COPY: PGlite reads them from a file that it makes of a blob. */
import type { PGlite } from '@electric-sql/pglite';
import { isDatabaseFault } from '../sqlstate.js';

const SAVEPOINT = 'quartermaster_copy';

/** @returns how many rows there were. */
export async function copyAlone(client: PGlite, target: string, lines: Iterable<string>): Promise<number> {
  const [copied] = await client.exec(`COPY ${target} FROM '/dev/blob'`, { blob: blobOf(lines) });
  return copied?.affectedRows ?? 0;
}

/** As `copyAlone`; when a unique constraint refuses the rows the transaction is as it was before. */
export async function copyInSession(client: PGlite, target: string, lines: Iterable<string>): Promise<number> {
  const script = `SAVEPOINT ${SAVEPOINT}; COPY ${target} FROM '/dev/blob'; RELEASE SAVEPOINT ${SAVEPOINT}`;
  try {
    const [, copied] = await client.exec(script, { blob: blobOf(lines) });
    return copied?.affectedRows ?? 0;
  } catch (error) {
    if (isUniqueViolation(error))
      await client.exec(`ROLLBACK TO SAVEPOINT ${SAVEPOINT}; RELEASE SAVEPOINT ${SAVEPOINT}`);
    throw error;
  }
}

export function isUniqueViolation(error: unknown): boolean {
  return isDatabaseFault(error) && error.code === '23505';
}

function blobOf(lines: Iterable<string>): Blob {
  return new Blob([[...lines].join('')]);
}
