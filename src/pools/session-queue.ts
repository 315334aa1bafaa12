/**
 * Work of one session that must not overlap: savepoints and settings of a transaction are undone by who made them, and some
 * servers take no two calls of one at once.
 */
import { within } from '../clock.js';
import type { OperationContext, Session } from '../component.js';

const LATE = 'The deadline passed while the operation waited for another of its transaction';

export class SessionQueue {
  private readonly turns = new WeakMap<Session, Promise<void>>();

  /**
   * Runs `work` at once when nothing of the session runs here, else after what came before, however that ended.
   * @param bounds of the wait: what gives up was never begun, and the session goes on.
   * @throws what `work` throws; `TIMEOUT`, `ABORTED`
   */
  run<R>(session: Session, bounds: Pick<OperationContext, 'deadline' | 'signal'>, work: () => Promise<R>): Promise<R> {
    const before = this.turns.get(session);
    const turn = before === undefined ? work() : within(before, bounds, session.clock, LATE).then(work);
    const leave = (): void => {
      if (this.turns.get(session) === turns) this.turns.delete(session);
    };
    // Who comes next waits for what came before, also when this one has given up.
    const turns: Promise<void> = turn.then(leave, before === undefined ? leave : () => before.then(leave));
    this.turns.set(session, turns);
    return turn;
  }

  /** Resolves when nothing of the session runs here, awaited by its caller or not. */
  async idle(session: Session): Promise<void> {
    for (let turn; (turn = this.turns.get(session)) !== undefined;) await turn;
  }
}
