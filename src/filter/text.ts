/**
 * The words that `$text` looks for, equal on every backend because no backend's own text search is asked: lower-cased
 * runs of letters, marks and digits, without stemming.
 */
export function tokenize(text: string): string[] {
  return [
    ...new Set(
      text
        .normalize('NFC')
        .toLowerCase()
        .match(/[\p{L}\p{M}\p{N}]+/gu) ?? [],
    ),
  ];
}

/** The words of a record: those of every declared text path that holds a string. */
export function recordWords(paths: readonly string[], value: object): string[] {
  const words = new Set<string>();
  for (const path of paths) {
    const text = valueAt(value, path.split('.'));
    if (typeof text === 'string') for (const word of tokenize(text)) words.add(word);
  }
  return [...words];
}

/**
 * Descends own properties of plain objects only: an array or a scalar on the way is missing, `a.0` is the key `0`.
 */
export function valueAt(value: unknown, path: readonly string[]): unknown {
  let current = value;
  for (const segment of path) {
    if (typeof current !== 'object' || current === null || Array.isArray(current)) return undefined;
    if (!Object.hasOwn(current, segment)) return undefined;
    current = (current as Record<string, unknown>)[segment];
  }
  return current;
}
