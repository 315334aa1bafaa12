/** What the compiler knows of an error after it was told apart; and what is left of it when it was not that one. */
import { expect, test } from '@jest/globals';
import { ConflictError, isStorageError, NotFoundError, UnavailableError, type StorageError } from '../src/index.js';

function statusByCode(error: unknown): string {
  if (!isStorageError(error)) return 'foreign';
  if (isStorageError(error, 'NOT_FOUND')) {
    const code: 'NOT_FOUND' = error.code;
    return code;
  }
  return `other: ${error.code}`;
}

function statusByClass(error: StorageError): string {
  if (error instanceof NotFoundError) return 'missing';
  if (error instanceof ConflictError) {
    const code: 'CONFLICT' | 'ALREADY_EXISTS' = error.code;
    return code;
  }
  return `other: ${error.code}`;
}

test('a code that there is not does not compile', () => {
  // @ts-expect-error a misspelt one
  expect(isStorageError(new NotFoundError('no'), 'NOT_FOUNDD')).toBe(false);
});

test('an error that is not of the code that was asked for is an error still', () => {
  expect(statusByCode(new NotFoundError('no'))).toBe('NOT_FOUND');
  expect(statusByCode(new UnavailableError('away'))).toBe('other: UNAVAILABLE');
  expect(statusByCode(new Error('x'))).toBe('foreign');
});

test('an error that is not of the class that was asked for is an error still', () => {
  expect(statusByClass(new NotFoundError('no'))).toBe('missing');
  expect(statusByClass(new ConflictError('ALREADY_EXISTS', 'there'))).toBe('ALREADY_EXISTS');
  expect(statusByClass(new UnavailableError('away'))).toBe('other: UNAVAILABLE');
});
