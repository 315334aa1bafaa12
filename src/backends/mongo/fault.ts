/** What the server says in an error of the client. */

export function errorCode(error: unknown): number | undefined {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === 'number' ? code : undefined;
}

/** The index that every collection has. */
export const ID_INDEX = '_id_';

/** SQLSTATE 40P01 as PostgreSQL packs it into a number, and FerretDB passes on. */
const DEADLOCK = 16_908_292;

/** In the PostgreSQL beneath FerretDB two statements waited for each other, and this one was undone. */
export function isDeadlock(error: unknown): boolean {
  const code = errorCode(error);
  return code === DEADLOCK || (code === 1 && error instanceof Error && error.message.includes('deadlock detected'));
}

/** PostgreSQL takes a second to see one. */
const ATTEMPTS = 10;

/** Makes a statement for many records, again when it was undone. */
export async function despiteDeadlocks<R>(statement: () => Promise<R>): Promise<R> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await statement();
    } catch (error) {
      if (!isDeadlock(error) || attempt === ATTEMPTS) throw error;
    }
  }
}
