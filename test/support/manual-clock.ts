import type { Clock } from '../../src/clock.js';

/** A clock that moves only when a test says so. */
export class ManualClock implements Clock {
  private readonly timers = new Set<{ at: number; callback: () => void }>();
  private time = 0;

  now(): Date {
    return new Date(Date.UTC(2024, 0, 1) + this.time);
  }

  monotonic(): number {
    return this.time;
  }

  after(milliseconds: number, callback: () => void): { cancel(): void } {
    const timer = { at: this.time + milliseconds, callback };
    this.timers.add(timer);
    return { cancel: () => this.timers.delete(timer) };
  }

  /** How many timers would still fire. */
  get pending(): number {
    return this.timers.size;
  }

  advance(milliseconds: number): void {
    this.time += milliseconds;
    for (const timer of [...this.timers].sort((a, b) => a.at - b.at)) {
      if (timer.at > this.time || !this.timers.delete(timer)) continue;
      timer.callback();
    }
  }
}
