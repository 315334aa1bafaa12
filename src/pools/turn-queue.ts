/** The turns of a session: a connection takes one statement at a time. */
import { type Clock, within } from '../clock.js';
import type { Bounds, OperationContext, Turns } from '../component.js';

const LATE = 'The deadline passed while the operation waited for another of its transaction';

/** One after the other, in the order of the calls. */
export class TurnQueue implements Turns {
  private last: Promise<void> | undefined;

  /** @param component whose session it is of, for its errors */
  constructor(
    private readonly clock: Clock,
    private readonly component: string,
  ) {}

  /** Whether something runs here or waits for its turn. */
  get isTaken(): boolean {
    return this.last !== undefined;
  }

  /**
   * Runs `work` at once when nothing runs here, else after what came before, however that ended.
   * @param bounds of the wait: what gives up was never begun, and who comes next still waits for what came before.
   * @throws what `work` throws; `TIMEOUT`, `ABORTED`
   */
  run<R>(bounds: Bounds, work: () => Promise<R>): Promise<R> {
    const { last: before, clock, component } = this;
    const turn = before === undefined ? work() : within(before, bounds, clock, LATE, { component }).then(work);
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

/**
 * Runs `work` with nothing of its session between its statements, as what sets savepoints or settings must, which are undone
 * and set for all; outside of transactions as it is.
 * @param work passes on the context that it is given
 */
export function alone<R>(context: OperationContext, work: (context: OperationContext) => Promise<R>): Promise<R> {
  const { session, turns } = context;
  if (session === undefined || turns !== undefined) return work(context);
  return session.turns.run(context, () => work({ ...context, turns: new TurnQueue(session.clock, session.pool.name) }));
}
