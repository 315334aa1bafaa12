/** For how long relays wait for keys that transactions hold. */
import { describe, expect, test } from '@jest/globals';
import { LockWaits, restOf } from '../src/unit-of-work/relay/lock-waits.js';
import { ManualClock } from './support/manual-clock.js';
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

const goesOn = (): boolean => false;

describe('waits for keys that transactions hold', () => {
  test.each([
    [1, [1_000, 100, 100]],
    [4, [1_000, 100, 100]],
    [10, [1_000, 1_000, 100]],
    [12, [1_000, 1_000, 1_000]],
  ])('are long for a quarter of %i places, and for one at least', async (places, expected) => {
    const waits = new LockWaits(places, new ManualClock(), goesOn);
    expect(await given(waits, 3)).toEqual(expected);
    // Those that were long have ended.
    expect(await given(waits, 3)).toEqual(expected);
  });

  test.each([
    [1, 3_000],
    [2, 1_000],
    [3, 334],
    [4, 0],
    [10, 0],
  ])(
    'are long for a quarter of the time of %i places: after one of a second there is none for %i ms',
    async (places, pause) => {
      const clock = new ManualClock();
      const waits = new LockWaits(places, clock, goesOn);
      await waits.run(1, true, async () => clock.sleep(1_000));
      if (pause > 0) {
        expect(await given(waits, 2)).toEqual([100, 100]);
        clock.sleep(pause - 1);
        expect(await given(waits, 1, 1, true)).toEqual([undefined]);
        clock.sleep(1);
      }
      expect(await given(waits, 1, 1, true)).toEqual([1_000]);
    },
  );

  test('end also where what waited has failed', async () => {
    const waits = new LockWaits(1, new ManualClock(), goesOn);
    await expect(waits.run(1, false, () => Promise.reject(new Error('cut')))).rejects.toThrow('cut');
    expect(await given(waits, 1)).toEqual([1_000]);
  });

  test('are no shorter than ten answers of the server', async () => {
    expect(await given(new LockWaits(1, new ManualClock(), goesOn), 2, 30)).toEqual([1_000, 300]);
    expect(await given(new LockWaits(1, new ManualClock(), goesOn), 2, 3_000)).toEqual([1_000, 1_000]);
  });

  test('are not begun again for a short time only', async () => {
    expect(await given(new LockWaits(1, new ManualClock(), goesOn), 3, 1, true)).toEqual([1_000, undefined, undefined]);
  });

  test('are long where the relay stops', async () => {
    expect(await given(new LockWaits(1, new ManualClock(), () => true), 3, 1, true)).toEqual([1_000, 1_000, 1_000]);
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
