/** What the environment says of a run of the fault suite. */

/** The seed of this run: `FAULT_SEED`, or a new one. */
export function seedOf(): number {
  return wholeNumber('FAULT_SEED', Math.floor(Math.random() * 2 ** 31));
}

export function wholeNumber(variable: string, standard: number): number {
  const text = process.env[variable] ?? '';
  const value = text === '' ? standard : Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`${variable}: expected a whole number, not ${text}`);
  return value;
}
