/** What a plain value is, across realms: `instanceof` and prototypes differ where code runs in a context of its own. */
import { types } from 'node:util';

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype = Object.getPrototypeOf(value) as object | null;
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** As `Array.isArray`, which would make `any[]` of a readonly array. */
export function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

export function isDate(value: unknown): value is Date {
  return types.isDate(value);
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
