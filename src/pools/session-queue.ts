/**
 * Work of one session that must not overlap: a connection takes one statement at a time, and savepoints and settings of a
 * transaction are undone by who made them.
 */
import { type Clock, within } from '../clock.js';
import type { OperationContext, Session } from '../component.js';

const LATE = 'The deadline passed while the operation waited for another of its transaction';

/** One after the other, in the order of the calls. */
export class TurnQueue {
  private last: Promise<void> | undefined;

  constructor(private readonly clock: Clock) {}

  /** Whether something runs here or waits for its turn. */
  get isTaken(): boolean {
    return this.last !== undefined;
  }

  /**
   * Runs `work` at once when nothing runs here, else after what came before, however that ended.
   * @param bounds of the wait: what gives up was never begun, and who comes next still waits for what came before.
   * @throws what `work` throws; `TIMEOUT`, `ABORTED`
   */
  run<R>(bounds: Pick<OperationContext, 'deadline' | 'signal'>, work: () => Promise<R>): Promise<R> {
    const before = this.last;
    const turn = before === undefined ? work() : within(before, bounds, this.clock, LATE).then(work);
    const leave = (): void => {
      if (this.last === last) this.last = undefined;
    };
    const last: Promise<void> = turn.then(leave, before === undefined ? leave : () => before.then(leave));
    this.last = last;
    return turn;
  }

  /** Resolves when nothing runs here, awaited by its caller or not. */
  async idle(): Promise<void> {
    while (this.last !== undefined) await this.last;
  }
}

/** A queue for each session, for those that keep none of their own. */
export class SessionQueue {
  private readonly queues = new WeakMap<Session, TurnQueue>();

  /** As `TurnQueue`, among the work of `session` here. */
  run<R>(session: Session, bounds: Pick<OperationContext, 'deadline' | 'signal'>, work: () => Promise<R>): Promise<R> {
    let queue = this.queues.get(session);
    if (queue === undefined) this.queues.set(session, (queue = new TurnQueue(session.clock)));
    return queue.run(bounds, work);
  }

  /** Resolves when nothing of the session runs here. */
  async idle(session: Session): Promise<void> {
    await this.queues.get(session)?.idle();
  }
}
