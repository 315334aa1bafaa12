/** What messages call a value that was given. */

/** Names a value's type for messages; never shows the value itself, which may be a secret. */
export function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  switch (typeof value) {
    case 'number':
      return Number.isNaN(value) ? 'NaN' : Number.isFinite(value) ? 'a number' : 'an infinite number';
    case 'string':
      return value.trim() !== '' ? 'a string' : value === '' ? 'an empty string' : 'a blank string';
    case 'object':
      return constructorName(value);
    case 'undefined':
      return 'undefined';
    default:
      return `a ${typeof value}`;
  }
}

/** What messages say was got where something else was expected: of a number where another was, the number. */
export function gotName(value: unknown, expected: string): string {
  if (Number.isFinite(value) && /^a (whole )?number\b/.test(expected)) return String(value);
  if (typeof value === 'string' && value.trim() !== '' && /^(one of |')/.test(expected)) return 'another string';
  return typeName(value);
}

function constructorName(value: object): string {
  if (value instanceof Date && Number.isNaN(value.getTime())) return 'an invalid Date';
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === null) return 'an object';
  const name = (prototype as { constructor?: { name?: unknown } }).constructor?.name;
  return typeof name === 'string' && name !== '' && name !== 'Object' ? `an instance of ${name}` : 'an object';
}
