/** The ids that a collection makes. */
import { v7 } from 'uuid';

let lastTime = 0;
let sequence = 0;

/**
 * A UUID of version 7 at `now`, greater than every one made before it in this process: the order of ids is the order of
 * insertion, also within a millisecond and when the clock is set back.
 */
export function makeUuid(now: Date): string {
  const time = now.getTime();
  if (time > lastTime) {
    lastTime = time;
    sequence = 0;
  } else if (++sequence > 0xffff_ffff) {
    lastTime++;
    sequence = 0;
  }
  return v7({ msecs: lastTime, seq: sequence });
}
