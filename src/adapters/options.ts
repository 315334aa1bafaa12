/** Readers of what operations take as their last options. */
import { invalid } from '../errors.js';
import { id, integer, optional, shape, type Reader } from './arguments.js';

/** Of every operation: checked where it is admitted. */
export const CALL_MEMBERS = {
  signal: (value: unknown) => value as AbortSignal | undefined,
  timeout: (value: unknown) => value as number | undefined,
};
const CURSOR: Reader<string> = (value, key) => {
  if (typeof value !== 'string') throw invalid(key, value, "a page's next or previous");
  return value;
};

export const readCallOptions = shape(CALL_MEMBERS);

/** Of an operation that changes a record. */
export const CHANGE_MEMBERS = {
  ...CALL_MEMBERS,
  ifVersion: optional(integer(1, Number.MAX_SAFE_INTEGER)),
  triggeredById: optional(id),
  sessionId: optional(id),
};
export const readChangeOptions = shape(CHANGE_MEMBERS);

/** Of an operation that gives a page. */
export const PAGE_MEMBERS = { ...CALL_MEMBERS, limit: optional(integer(1, 100)), after: optional(CURSOR) };
export const readPageOptions = shape(PAGE_MEMBERS);
