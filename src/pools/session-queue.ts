/** Work of one session that must not overlap: savepoints and settings of a transaction are undone by who made them. */
import type { Session } from '../component.js';

export class SessionQueue {
  private readonly turns = new WeakMap<Session, Promise<unknown>>();

  /** Runs `work` at once when nothing of the session runs here, else after what came before, however that ended. */
  run<R>(session: Session, work: () => Promise<R>): Promise<R> {
    const before = this.turns.get(session);
    const turn = before === undefined ? work() : before.then(work, work);
    this.turns.set(session, turn);
    return turn;
  }
}
