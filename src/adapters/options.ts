/** Readers of what operations take as their last options. */
import { checkVersion } from '../collection/record-codec.js';
import { invalid } from '../errors.js';
import { characters, id, integer, optional, shape, type Reader } from './arguments.js';

/** Of every operation: checked where it is admitted. */
export const CALL_MEMBERS = {
  signal: (value: unknown) => value as AbortSignal | undefined,
  timeout: (value: unknown) => value as number | undefined,
};

/** Of what goes on until it aborts: checked here, since each of its reads is admitted by itself. */
export const signal: Reader<AbortSignal> = (value, key) => {
  if (typeof (value as Partial<AbortSignal>).addEventListener !== 'function')
    throw invalid(key, value, 'an AbortSignal');
  return value as AbortSignal;
};

/** Who does it, as the caller says. */
export const ACTOR_MEMBERS = { triggeredById: optional(id), sessionId: optional(id) };

/** Only what is not there is absent: a null would be a condition that is not kept. */
export const ifVersion: Reader<number | undefined> = (value, key) => checkVersion(value, key);

const KEY = characters(255);

/** Of a create: the same key gives the same result. It is kept as a hash. */
export const idempotencyKey: Reader<string | undefined> = (value, key) =>
  value === undefined ? undefined : KEY(value, key);

/** Only what is not there is absent: a blank text is no place in a list. What else is no cursor is told where it is read. */
const cursor: Reader<string | undefined> = (value, key) => {
  if (value !== undefined && typeof value !== 'string') throw invalid(key, value, "a page's next or previous");
  return value;
};

export const CHANGE_MEMBERS = { ...CALL_MEMBERS, ...ACTOR_MEMBERS, ifVersion };
export const CREATE_MEMBERS = { ...CALL_MEMBERS, ...ACTOR_MEMBERS, idempotencyKey };
export const PAGE_MEMBERS = { ...CALL_MEMBERS, limit: optional(integer(1, 100)), after: cursor };

export const readCallOptions = shape(CALL_MEMBERS);
export const readChangeOptions = shape(CHANGE_MEMBERS);
export const readPageOptions = shape(PAGE_MEMBERS);
