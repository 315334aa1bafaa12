/** For how long relays wait for keys that transactions hold. */
import { describe, expect, test } from '@jest/globals';
import { LockWaits, restOf } from '../src/unit-of-work/relay/lock-waits.js';
import { gate } from './support/postgres/fixture.js';

/** What so many waits at a time were given, in milliseconds; each begins while those before it last. */
async function given(waits: LockWaits, count: number, answer = 1, wasHeld = false): Promise<unknown[]> {
  const { passed, open } = gate();
  const seen: unknown[] = Array.from({ length: count });
  const all = seen.map((_none, i) =>
    waits.run(answer, wasHeld, (timeout) => {
      seen[i] = timeout;
      return passed;
    }),
  );
  open();
  await Promise.all(all);
  return seen;
}

describe('waits for keys that transactions hold', () => {
  test.each([
    [1, [1_000, 100, 100]],
    [4, [1_000, 100, 100]],
    [10, [1_000, 1_000, 100]],
    [12, [1_000, 1_000, 1_000]],
  ])('are long for a quarter of %i places, and for one at least', async (places, expected) => {
    const waits = new LockWaits(places, () => false);
    expect(await given(waits, 3)).toEqual(expected);
    // Those that were long have ended.
    expect(await given(waits, 3)).toEqual(expected);
  });

  test('end also where what waited has failed', async () => {
    const waits = new LockWaits(1, () => false);
    await expect(waits.run(1, false, () => Promise.reject(new Error('cut')))).rejects.toThrow('cut');
    expect(await given(waits, 1)).toEqual([1_000]);
  });

  test('are no shorter than ten answers of the server', async () => {
    expect(await given(new LockWaits(1, () => false), 2, 30)).toEqual([1_000, 300]);
    expect(await given(new LockWaits(1, () => false), 2, 3_000)).toEqual([1_000, 1_000]);
  });

  test('are not begun again for a short time only', async () => {
    expect(await given(new LockWaits(1, () => false), 3, 1, true)).toEqual([1_000, undefined, undefined]);
  });

  test('are long where the relay stops', async () => {
    expect(await given(new LockWaits(1, () => true), 3, 1, true)).toEqual([1_000, 1_000, 1_000]);
  });

  test.each([
    [1, 100, 200],
    [2, 200, 400],
    [5, 1_000, 2_000],
    [1_000, 1_000, 2_000],
  ])('are followed, %i of them in vain, by a rest of %i to %i ms', (rests, least, most) => {
    const seen = Array.from({ length: 100 }, () => restOf(rests));
    expect(seen.filter((rest) => rest < least || rest > most)).toEqual([]);
  });
});
