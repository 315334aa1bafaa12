/** What the server says in an error of the client, or in the cause of one of the library's. */

export function errorCode(error: unknown): number | undefined {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === 'number' ? code : undefined;
}

export function isDuplicate(error: unknown): boolean {
  return duplicateIndex(error) !== undefined;
}

/** The name of the index that has the key already, `''` when the server does not say; `undefined` for another error. */
export function duplicateIndex(error: unknown): string | undefined {
  if (errorCode(error) !== 11_000 || !(error instanceof Error)) return undefined;
  const [, name, quoted] = /\bindex: (?:\S+\.\$)?(\S+)|\bIndex '([^']+)'/.exec(error.message) ?? [];
  return name ?? quoted ?? '';
}

export const ID_INDEX = '_id_';
