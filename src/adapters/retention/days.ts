/** How the stores' policies say for how long something is kept. */
import { invalid } from '../../errors.js';
import { withDefault, type Reader } from '../arguments.js';

/** Milliseconds. */
export const DAY = 86_400_000;

export const MOST_DAYS = 36_525;

const DAYS: Reader<number> = (value, key) => {
  if (typeof value !== 'number' || !(value >= 0 && value <= MOST_DAYS))
    throw invalid(key, value, `a number of days from 0 to ${MOST_DAYS}`);
  return value;
};

/** 0: off. */
export const days = withDefault(DAYS, 0);
