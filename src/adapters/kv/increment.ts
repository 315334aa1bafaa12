/** Counting up: what one patch can do, and what an entry that was read becomes. */
import { ConflictError, StorageError } from '../../errors.js';
import type { Filter } from '../../filter/syntax.js';
import type { Address, EntryRecord, EntryValue } from './entry.js';
import { liveAt } from './entry.js';

export interface Increment {
  readonly delta: number;
  readonly initialValue: number;
  /** What the sum may be. */
  readonly min: number;
  readonly max: number;
}

const DIGITS = Array.from({ length: 16 }, (_, n) => 10 ** n);
/** The numbers that have another number of digits than the next one up, and the next one down. */
const LONGER: ReadonlyMap<number, readonly number[]> = new Map([
  [1, [...DIGITS.slice(1).map((power) => power - 1), ...DIGITS.slice(1).map((power) => -power), -1]],
  [-1, [...DIGITS.slice(1), ...DIGITS.slice(1).map((power) => 1 - power), 0]],
]);

/** Whether the sum for an entry that is not there may be. */
export function mayBegin({ delta, initialValue, min, max }: Increment): boolean {
  const sum = initialValue + delta;
  return sum >= min && sum <= max;
}

/** Of an entry that one patch can count up, of which nothing is known. @param counted only where its size stays: no counter changes with it */
export function countable({ delta, min, max }: Increment, counted: boolean, now: Date): Filter<EntryValue> | undefined {
  const within = range(min - delta, max - delta);
  if (!counted) return { integer: within, expires: { $exists: false } };
  const longer = LONGER.get(delta);
  if (longer === undefined) return undefined;
  return { integer: { ...within, $nin: longer }, expiresAt: { $exists: false }, ...liveAt(now) };
}

/**
 * Of entries that have as many digits as `current`, and as many as `sum` when counted up: what they take changes by as much.
 * The number itself may be another by then.
 */
export function countableLike(
  { delta, min, max }: Increment,
  current: number,
  sum: number,
  counted: boolean,
  now: Date,
): Filter<EntryValue> {
  if (!counted) return { integer: range(min - delta, max - delta), expires: { $exists: false } };
  const before = sameDigits(current);
  const after = sameDigits(sum);
  const least = Math.max(before.least, after.least - delta, min - delta);
  const most = Math.min(before.most, after.most - delta, max - delta);
  return { integer: range(least, most), expiresAt: { $exists: false }, ...liveAt(now) };
}

function range(least: number, most: number): { readonly $gte: number; readonly $lte: number } {
  return { $gte: Math.max(least, Number.MIN_SAFE_INTEGER), $lte: Math.min(most, Number.MAX_SAFE_INTEGER) };
}

function sameDigits(number: number): { readonly least: number; readonly most: number } {
  const digits = String(Math.abs(number)).length;
  const least = digits === 1 ? 0 : 10 ** (digits - 1);
  const most = 10 ** digits - 1;
  // Nothing but -0 would be a negative 0.
  return number < 0 ? { least: -most, most: -Math.max(least, 1) } : { least, most };
}

/** @throws `NOT_A_NUMBER`; `CONFLICT` for a sum beyond the bounds of the call */
export function add(at: Address, live: EntryRecord | undefined, increment: Increment, operation: string): number {
  const { delta, initialValue, min, max } = increment;
  const current = live === undefined ? initialValue : live.value.integer;
  const where = `${operation}: the entry ${JSON.stringify(at.key)} of ${JSON.stringify(at.namespace)}`;
  const details = { ...at };
  if (current === undefined)
    throw new StorageError('NOT_A_NUMBER', `${where} is no whole number`, { component: 'kv', operation, details });
  const sum = current + delta;
  if (!Number.isSafeInteger(sum))
    throw new StorageError('NOT_A_NUMBER', `${where} would grow beyond the whole numbers that are exact`, {
      component: 'kv',
      operation,
      details,
    });
  if (sum < min || sum > max)
    throw new ConflictError('CONFLICT', `${where} would be ${sum}, which is not from ${min} to ${max}`, {
      component: 'kv',
      operation,
      details: { ...details, reason: 'bounds', value: current, min, max },
    });
  return sum;
}
