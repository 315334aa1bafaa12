/** What the stores make of what they are given: times, and what counts as not given. */
import { expect, test } from '@jest/globals';
import { choice, instant, integer, jsonObject, text, withDefault } from '../../src/adapters/arguments.js';

const read = (given: unknown): string => instant(given, 'at').toISOString();

test.each([
  ['2024-05-21', '2024-05-21T00:00:00.000Z'],
  ['2024-05-21 09:00', '2024-05-21T09:00:00.000Z'],
  ['2024-05-21T09:00:00.5Z', '2024-05-21T09:00:00.500Z'],
  ['2024-05-21T09:00:00+02:00', '2024-05-21T07:00:00.000Z'],
  ['2024-05-21T09:00:00-0230', '2024-05-21T11:30:00.000Z'],
  // As PostgreSQL prints it.
  ['2024-05-21 09:00:00.123+02', '2024-05-21T07:00:00.123Z'],
  ['2024-05-21 09:00:00-11', '2024-05-21T20:00:00.000Z'],
  ['0000-01-01T00:00:00.000Z', '0000-01-01T00:00:00.000Z'],
  ['9999-12-31T23:59:59.999Z', '9999-12-31T23:59:59.999Z'],
])('the time %s is %s', (given, expected) => expect(read(given)).toBe(expected));

test.each([
  '2024-02-30',
  '2024-05-21+02',
  '2024-05-21T25:00',
  'now',
  '',
  5,
  '9999-12-31T23:59:59-01:00',
  '+010000-01-01',
])('%p is no time', (given) => {
  const refused = { code: 'VALIDATION', message: expect.stringContaining('at:') as unknown };
  expect(() => read(given)).toThrow(expect.objectContaining(refused));
});

test('a blank text is the default, but where an object is expected', () => {
  for (const nothing of [undefined, null, '', '  ']) {
    expect(withDefault(text(), 'usual')(nothing, 'at')).toBe('usual');
    expect(withDefault(choice(['a', 'b']), 'a')(nothing, 'at')).toBe('a');
    expect(withDefault(integer(0, 5), 3)(nothing, 'at')).toBe(3);
  }
  const metadata = withDefault(jsonObject, {});
  expect([metadata(undefined, 'at'), metadata(null, 'at')]).toEqual([{}, {}]);
  for (const blank of ['', '  '])
    expect(() => metadata(blank, 'at')).toThrow(expect.objectContaining({ code: 'VALIDATION' }));
});
