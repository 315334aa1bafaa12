/** The order of what works in one session: what sets savepoints or settings, which undo what is beside them too, runs alone. */
import { type Clock, within } from '../clock.js';
import type { OperationContext, Session } from '../component.js';

type Bounds = Pick<OperationContext, 'deadline' | 'signal'>;

const LATE = 'The deadline passed while the operation waited for another of its transaction';

/** In the order of the calls: what runs alone with nothing beside it, what shares a turn with others of its kind. */
export class TurnQueue {
  /** Resolves when all that was asked for has ended. */
  private last: Promise<void> | undefined;
  /** The same of what was to run alone. */
  private lastAlone: Promise<void> | undefined;

  constructor(private readonly clock: Clock) {}

  /** Whether something runs alone here or waits to. */
  get isTaken(): boolean {
    return this.lastAlone !== undefined;
  }

  /**
   * Runs `work` at once when nothing runs here, else after what came before, however that ended.
   * @param bounds of the wait: what gives up was never begun, and who comes next still waits for what came before.
   * @throws what `work` throws; `TIMEOUT`, `ABORTED`
   */
  run<R>(bounds: Bounds, work: () => Promise<R>): Promise<R> {
    const turn = this.after(this.last, bounds, work);
    this.lastAlone = this.follow(turn);
    return turn;
  }

  /** As `run`, beside what shares the turn: it waits only for what was to run alone. */
  share<R>(bounds: Bounds, work: () => Promise<R>): Promise<R> {
    const turn = this.after(this.lastAlone, bounds, work);
    void this.follow(turn);
    return turn;
  }

  private after<R>(before: Promise<void> | undefined, bounds: Bounds, work: () => Promise<R>): Promise<R> {
    return before === undefined ? work() : within(before, bounds, this.clock, LATE).then(work);
  }

  /** Makes what comes next wait for `turn` too. */
  private follow(turn: Promise<unknown>): Promise<void> {
    const before = this.last;
    const leave = (): void => {
      if (this.last === last) this.last = undefined;
      if (this.lastAlone === last) this.lastAlone = undefined;
    };
    // What gave up its wait ends before what it waited for.
    const rest = before === undefined ? leave : () => before.then(leave);
    const last: Promise<void> = turn.then(rest, rest);
    return (this.last = last);
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
  run<R>(session: Session, bounds: Bounds, work: () => Promise<R>): Promise<R> {
    return this.queueOf(session).run(bounds, work);
  }

  /** As `TurnQueue`, among the work of `session` here. */
  share<R>(session: Session, bounds: Bounds, work: () => Promise<R>): Promise<R> {
    return this.queueOf(session).share(bounds, work);
  }

  /** Resolves when nothing of the session runs here. */
  async idle(session: Session): Promise<void> {
    await this.queues.get(session)?.idle();
  }

  private queueOf(session: Session): TurnQueue {
    let queue = this.queues.get(session);
    if (queue === undefined) this.queues.set(session, (queue = new TurnQueue(session.clock)));
    return queue;
  }
}
