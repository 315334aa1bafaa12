/** What one question and its answer tell of a server's clock. */
import { expect, test } from '@jest/globals';
import { clockOffset, offsetWarning } from '../src/pools/clock-offset.js';

test.each([
  [0.4, 0.2, 0],
  [150, 300, 0],
  [-151, 300, 0],
  [152, 300, 152],
  [-3_600_000.4, 20, -3_600_000],
])('%d ms ahead after a round trip of %d ms is an offset of %d ms', (ahead, latency, offset) => {
  expect(clockOffset({ ahead, latency })).toBe(offset);
  expect(clockOffset({ ahead, latency }, 7)).toBe(offset);
});

test('a slow answer changes nothing that is known', () => {
  expect(clockOffset({ ahead: 5_000, latency: 1_001 }, 20)).toBe(20);
  expect(clockOffset({ ahead: 5_000, latency: 1_001 })).toBe(5_000);
});

test('above a second it is told', () => {
  expect([1_000, -1_000, 0].map(offsetWarning)).toEqual([undefined, undefined, undefined]);
  expect(offsetWarning(1_001)).toBe("The server's clock is 1001 ms ahead of this host's");
  expect(offsetWarning(-1_001)).toBe("The server's clock is 1001 ms behind this host's");
});
