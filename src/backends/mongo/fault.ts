/** What the server says in an error of the client. */

export function errorCode(error: unknown): number | undefined {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === 'number' ? code : undefined;
}

/** The index that every collection has. */
export const ID_INDEX = '_id_';
