/** The operands of filters: what a single value may be, and the error when it is not. */
import { ValidationError } from '../errors.js';
import { typeName } from '../type-name.js';
import { isDate } from './json.js';

export type Scalar = null | boolean | number | string;

/** A Date as it is stored: ISO text with milliseconds, years 0000 to 9999 (others would not sort as text). */
export function dateText(value: unknown, at: string): string {
  if (!isDate(value)) throw refuse(at, 'a Date', value);
  const year = value.getUTCFullYear();
  if (Number.isNaN(year) || year < 0 || year > 9999) throw refuse(at, 'a Date of the years 0000 to 9999', value);
  return value.toISOString();
}

export function parseElement(operand: unknown, at: string): Scalar {
  switch (typeof operand) {
    case 'string':
      return checkString(operand, at);
    case 'number':
      if (!Number.isFinite(operand)) throw refuse(at, 'a finite number', operand);
      return operand === 0 ? 0 : operand;
    case 'boolean':
      return operand;
    default:
      if (operand === null) return null;
      throw refuse(at, 'a string, number, boolean or null', operand);
  }
}

export function checkString(operand: unknown, at: string): string {
  if (typeof operand !== 'string') throw refuse(at, 'a string', operand);
  if (!operand.isWellFormed() || operand.includes('\0')) throw refuse(at, 'well-formed text without U+0000', operand);
  return operand;
}

export function refuse(at: string, expected: string, value: unknown, prefix?: string): ValidationError {
  const message = `${at}: ${prefix === undefined ? '' : `${prefix}; `}expected ${expected}, got ${typeName(value)}`;
  return new ValidationError('INVALID_FILTER', message, { details: { key: at, expected, actual: typeName(value) } });
}

/** What is no operator may be a field inside of one, as in `{ owner: { email: 'x' } }`. */
export function unknownOperator(
  at: string,
  operator: string,
  known: string,
  path: readonly string[],
  operand: unknown,
): ValidationError {
  const hint = operator.startsWith('$')
    ? ''
    : `; a nested field is named by its path: '${[...path, operator].join('.')}'`;
  return refuse(at, `one of ${known}`, operand, `unknown operator ${operator}${hint}`);
}
