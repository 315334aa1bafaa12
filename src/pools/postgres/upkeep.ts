/** What a pool does about its idle connections while nobody asks it anything. */
import type { Clock, Timer } from '../../clock.js';
import type { Connection } from './connection.js';
import type { PoolOptions } from './settings.js';

const EVERY = 1_000;

export interface Kept {
  /** From the one that has been idle longest. */
  readonly idle: readonly Connection[];
  size(): number;
  retire(connection: Connection): void;
  /** Opens connections until there are `count`. */
  fill(count: number): void;
}

export class Upkeep {
  private timer: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly options: PoolOptions,
    private readonly kept: Kept,
  ) {
    this.plan();
  }

  stop(): void {
    this.timer?.cancel();
  }

  private plan(): void {
    this.timer = this.clock.after(EVERY, () => this.run(), { background: true });
  }

  private run(): void {
    this.plan();
    const { kept, clock, options } = this;
    const now = clock.monotonic();
    for (const connection of [...kept.idle]) {
      const unused = kept.size() > options.min && now - connection.idleSince >= options.idleTimeout;
      if (unused || connection.expiresAt <= now) kept.retire(connection);
    }
    kept.fill(options.min);
  }
}
