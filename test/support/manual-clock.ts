import type { Clock, Timer } from '../../src/clock.js';

interface Pending {
  readonly at: number;
  readonly callback: () => void;
}

/** A clock that moves only when a test moves it. */
export class ManualClock implements Clock {
  private elapsed = 0;
  private wall: number;
  private readonly pending = new Set<Pending>();

  constructor(start = '2026-01-01T00:00:00.000Z') {
    this.wall = Date.parse(start);
  }

  /** Timers that have neither fired nor been cancelled. */
  get timers(): number {
    return this.pending.size;
  }

  now(): Date {
    return new Date(this.wall + this.elapsed);
  }

  monotonic(): number {
    return this.elapsed;
  }

  after(milliseconds: number, callback: () => void): Timer {
    const timer = { at: this.elapsed + Math.max(0, milliseconds), callback };
    this.pending.add(timer);
    return { cancel: () => void this.pending.delete(timer) };
  }

  /** Lets what has begun go on, then fires the timers that fall due, in order, what each sets off before the next. */
  async advance(milliseconds: number): Promise<void> {
    await settled();
    const end = this.elapsed + milliseconds;
    for (let timer = this.next(end); timer !== undefined; timer = this.next(end)) {
      this.elapsed = timer.at;
      this.pending.delete(timer);
      timer.callback();
      await settled();
    }
    this.elapsed = end;
    await settled();
  }

  /** Sets the wall clock by so many milliseconds, as an administrator would; no timer notices. */
  jump(milliseconds: number): void {
    this.wall += milliseconds;
  }

  /** Lets so much time pass without any timer firing yet, as for a process that is frozen. */
  sleep(milliseconds: number): void {
    this.elapsed += milliseconds;
  }

  private next(end: number): Pending | undefined {
    let first: Pending | undefined;
    for (const timer of this.pending)
      if (timer.at <= end && (first === undefined || timer.at < first.at)) first = timer;
    return first;
  }
}

/** Databases inside the process hold an answer back to the next turn of the event loop where one has gone on for long. */
const TURNS = 10;

/** Resolves when everything that was waiting for a resolved promise has gone on. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await new Promise((resolve) => setImmediate(resolve));
}
