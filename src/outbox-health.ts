/** What the health report says of a database's outbox: how much waits, for how long, and what is dead. */
import type { RecordBackend } from './backends/backend.js';
import { sleep, type Clock } from './clock.js';
import type { CheckResult, Component } from './component.js';
import { foreignErrorName } from './errors.js';
import type { Pool } from './pools/pool.js';
import { readBacklog, type OutboxBacklog } from './unit-of-work/outbox/backlog.js';

/** Milliseconds for which figures are told again, however often probes ask. */
const FRESH = 30_000;
/** Counted, and no more: beyond it the figure is told as `10000+`. */
const MOST = 10_000;
/** Milliseconds that reading the figures may take. */
const PATIENCE = 1_000;
/** Milliseconds for which a pool is looked at before it counts as full: its own check, too, takes the only connection for a moment. */
const GLANCE = 50;

/** The figures, and when they were read, by the database's clock and by that of intervals. */
interface Reading {
  readonly backlog: OutboxBacklog;
  readonly now: Date;
  readonly at: number;
}

export interface OutboxHealthOptions {
  readonly name: string;
  readonly backend: RecordBackend;
  readonly clock: Clock;
  /** Milliseconds that a message may wait. */
  readonly maxAge: number;
  /** Whether this process knows the outbox's tables: without them nothing is read, and none are made. */
  readonly isUsed: () => boolean;
}

export class OutboxHealth implements Component {
  private known: Reading | undefined;

  constructor(private readonly options: OutboxHealthOptions) {}

  get name(): string {
    return this.options.name;
  }

  async open(): Promise<void> {
    // Nothing is read before somebody asks.
  }

  /**
   * A message that waits for long, or is dead, needs somebody; the database is none the worse for it. Where its pool is full
   * the last figures are told with their age: who waits for a connection to tell them makes the pool worse.
   */
  async check(signal: AbortSignal): Promise<CheckResult> {
    const { clock, backend, isUsed } = this.options;
    if (!isUsed()) return { status: 'healthy' };
    if (this.known !== undefined && clock.monotonic() - this.known.at < FRESH) return this.told(this.known);
    if (await this.staysFull(signal)) return this.toldOfFull();
    try {
      this.known = await this.read(signal);
    } catch (error) {
      if (isFull(backend.pool)) return this.toldOfFull();
      const reason = foreignErrorName(error);
      return { status: 'degraded', message: `The figures of the outbox could not be read (${reason})` };
    }
    return this.told(this.known);
  }

  async close(): Promise<void> {
    this.known = undefined;
  }

  private async read(signal: AbortSignal): Promise<Reading> {
    const { backend, clock } = this.options;
    const [now, at] = [clock.now(), clock.monotonic()];
    return { backlog: await readBacklog(backend, { now, deadline: at + PATIENCE, signal }, MOST + 1), now, at };
  }

  private async staysFull(signal: AbortSignal): Promise<boolean> {
    const { clock, backend } = this.options;
    const end = clock.monotonic() + GLANCE;
    while (isFull(backend.pool)) {
      if (clock.monotonic() >= end) return true;
      await sleep(clock, 2, signal);
    }
    return false;
  }

  private toldOfFull(): CheckResult {
    const { known } = this;
    if (known !== undefined) return this.told(known, Math.round(this.options.clock.monotonic() - known.at));
    return { status: 'healthy', message: 'The figures of the outbox are not known while all connections are in use' };
  }

  /** @param ageMs of the figures, where they could not be read again */
  private told({ backlog, now }: Reading, ageMs?: number): CheckResult {
    const { waiting, dead, oldest } = backlog;
    const oldestMs = oldest === undefined ? undefined : Math.max(0, now.getTime() - oldest.getTime());
    const details = {
      waiting: shown(waiting),
      dead: shown(dead),
      ...(oldestMs === undefined ? {} : { oldestMs }),
      ...(ageMs === undefined ? {} : { ageMs }),
    };
    const faults = [
      ...(dead > 0 ? [dead === 1 ? 'a dead letter' : `${shown(dead)} dead letters`] : []),
      ...(oldestMs !== undefined && oldestMs > this.options.maxAge
        ? [`a message that has waited for ${oldestMs} ms`]
        : []),
    ];
    if (faults.length === 0) return { status: 'healthy', details };
    return { status: 'degraded', message: `The outbox has ${faults.join(' and ')}`, details };
  }
}

function isFull(pool: Pool): boolean {
  const { size, idle, max } = pool.figures();
  return idle === 0 && size >= max;
}

function shown(count: number): number | string {
  return count > MOST ? `${MOST}+` : count;
}
