/** Rows by COPY: PGlite reads them from a file that it makes of a blob. */
import type { PGlite } from '@electric-sql/pglite';
import type { CopyFormat } from '../pool.js';
import { isDatabaseFault } from '../sqlstate.js';

type Rows = Iterable<string | Uint8Array>;

const SAVEPOINT = 'quartermaster_copy';

/** @returns how many rows there were. */
export async function copyAlone(
  client: PGlite,
  target: string,
  rows: Rows,
  format: CopyFormat = 'text',
): Promise<number> {
  const [copied] = await client.exec(copyText(target, format), { blob: blobOf(rows) });
  return copied?.affectedRows ?? 0;
}

/** As `copyAlone`; when a unique constraint refuses the rows the transaction is as it was before. */
export async function copyInSession(
  client: PGlite,
  target: string,
  rows: Rows,
  format: CopyFormat = 'text',
): Promise<number> {
  const script = `SAVEPOINT ${SAVEPOINT}; ${copyText(target, format)}; RELEASE SAVEPOINT ${SAVEPOINT}`;
  try {
    const [, copied] = await client.exec(script, { blob: blobOf(rows) });
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

function copyText(target: string, format: CopyFormat): string {
  return `COPY ${target} FROM '/dev/blob' (FORMAT ${format})`;
}

function blobOf(rows: Rows): Blob {
  return new Blob([...rows] as (string | Uint8Array<ArrayBuffer>)[]);
}
