/** How the ids of a sequence are stored: text whose order is the order of the numbers. */

/**
 * An id as it is stored: its number of digits as a letter before it. One that is no whole number above 0 gets a prefix that
 * no number has, and so is never found.
 */
export function encodeSequenceId(id: string): string {
  return isSequenceId(id) ? `${letterOf(id.length)}${id}` : `~${id}`;
}

export function isSequenceId(id: string): boolean {
  return /^[1-9][0-9]{0,15}$/.test(id) && Number.isSafeInteger(Number(id));
}

/** The greatest that a caller may bring: as many numbers are left beyond it, so that none of them ends the sequence. */
const GREATEST_BROUGHT = 2 ** 52;

/** Whether a caller may make a record of this id. */
export function isBroughtId(id: string): boolean {
  return isSequenceId(id) && Number(id) <= GREATEST_BROUGHT;
}

export function decodeSequenceId(stored: string): string {
  return stored.slice(1);
}

function letterOf(digits: number): string {
  return String.fromCharCode(96 + digits);
}

const NUMBERS = Array.from({ length: 16 }, (_, more) => `${letterOf(more + 1)}[1-9][0-9]{${more}}`);

/** The stored forms, as a regular expression that POSIX and Perl read alike. */
export const SEQUENCE_ID = `^(${NUMBERS.join('|')})$`;
