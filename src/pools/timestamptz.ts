/** The text of a `timestamptz`, in which PostgreSQL knows infinity and years that ISO 8601 writes otherwise. */

/**
 * `infinity` is a value of timestamptz: the number `Infinity`; anything else is a Date.
 * @throws where the server writes times in another style than ISO.
 */
export function parseInstant(text: string): Date | number {
  if (text === 'infinity') return Infinity;
  if (text === '-infinity') return -Infinity;
  // Nearly every time there is, where the session's zone is UTC.
  if (text.length >= 22 && text.length <= 29 && text[4] === '-' && text[10] === ' ' && text.endsWith('+00')) {
    const year = 100 * pair(text, 0) + pair(text, 2);
    // Those before it Date.UTC takes for years of the twentieth century.
    if (year >= 100) return new Date(utc(year, text));
  }
  // PostgreSQL writes 2024-01-31 12:00:00.5+00, with ` BC` at the end for the years before 1. The local mean times of old
  // have seconds in their offset, which ISO 8601 has not.
  const parts = /^(\d{4,})(-\d\d-\d\d) ([\d:.]+)([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?( BC)?$/.exec(text);
  if (parts === null) throw new Error('The server writes times in another style than ISO');
  const [, year, day, time, sign, hours, minutes = '0', seconds = '0', era] = parts;
  const astronomical = era === undefined ? Number(year) : 1 - Number(year);
  const offset = (Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds);
  const local = Date.parse(`${isoYear(astronomical)}${day}T${time}Z`);
  return new Date(local - (sign === '-' ? -1_000 : 1_000) * offset);
}

/** Of `YYYY-MM-DD hh:mm:ss[.f]+00`, by its digits: Date.parse takes three times as long. */
function utc(year: number, text: string): number {
  const digit = (at: number): number => (at < text.length - 3 ? text.charCodeAt(at) - ZERO : 0);
  const milliseconds = 100 * digit(20) + 10 * digit(21) + digit(22);
  const [month, day] = [pair(text, 5) - 1, pair(text, 8)];
  return Date.UTC(year, month, day, pair(text, 11), pair(text, 14), pair(text, 17), milliseconds);
}

const ZERO = 48;

/** The number of two digits. */
function pair(text: string, at: number): number {
  return 10 * (text.charCodeAt(at) - ZERO) + text.charCodeAt(at + 1) - ZERO;
}

function isoYear(year: number): string {
  if (year >= 0 && year <= 9999) return String(year).padStart(4, '0');
  return `${year < 0 ? '-' : '+'}${String(Math.abs(year)).padStart(6, '0')}`;
}

export function instantText(date: Date): string {
  const year = date.getUTCFullYear();
  const iso = date.toISOString();
  if (year > 0 && year <= 9999) return iso;
  const rest = iso.slice(iso.indexOf('-', 1));
  return year > 0 ? `${year}${rest}` : `${String(1 - year).padStart(4, '0')}${rest} BC`;
}
