/** Statements that a deadlock has undone: the other side goes on, so that they succeed when they are run again. */
import { sleep, systemClock } from '../clock.js';
import type { OperationContext } from '../component.js';
import { isSerializationFailure } from '../errors.js';

const ATTEMPTS = 5;
/** Milliseconds, times the attempts so far, at random: two that met do not meet again. */
const PAUSE = 20;

/** Runs `work` again after a deadlock; not in a session, where more than it was undone. @throws what `work` throws. */
export async function againAfterDeadlock<R>(context: OperationContext, work: () => Promise<R>): Promise<R> {
  for (let attempt = 1; ; attempt++)
    try {
      return await work();
    } catch (error) {
      if (context.session !== undefined || !isSerializationFailure(error) || attempt === ATTEMPTS) throw error;
      await sleep(systemClock, Math.random() * PAUSE * attempt, context.signal);
    }
}
