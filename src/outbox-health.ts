/** What the health report says of a database's outbox: how much waits, for how long, and what is dead. */
import type { RecordBackend } from './backends/backend.js';
import type { Clock } from './clock.js';
import type { CheckResult, Component } from './component.js';
import { foreignErrorName } from './errors.js';
import { readBacklog, type OutboxBacklog } from './unit-of-work/outbox/backlog.js';

/** Milliseconds for which figures are told again, however often probes ask. */
const FRESH = 30_000;
/** Counted, and no more: beyond it the figure is told as `10000+`. */
const MOST = 10_000;
/** Milliseconds that reading the figures may take. */
const PATIENCE = 5_000;

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
  private known: { readonly backlog: OutboxBacklog; readonly at: number } | undefined;

  constructor(private readonly options: OutboxHealthOptions) {}

  get name(): string {
    return this.options.name;
  }

  async open(): Promise<void> {
    // Nothing is read before somebody asks.
  }

  /** A message that waits for long, or is dead, needs somebody; the database is none the worse for it. */
  async check(signal: AbortSignal): Promise<CheckResult> {
    const { clock, maxAge, isUsed } = this.options;
    if (!isUsed()) return { status: 'healthy' };
    let backlog: OutboxBacklog;
    try {
      backlog = await this.backlog(signal);
    } catch (error) {
      const reason = foreignErrorName(error);
      return { status: 'degraded', message: `The figures of the outbox could not be read (${reason})` };
    }
    const { waiting, dead, oldest } = backlog;
    const age = oldest === undefined ? undefined : Math.max(0, clock.now().getTime() - oldest.getTime());
    const details = { waiting: shown(waiting), dead: shown(dead), ...(age === undefined ? {} : { oldestMs: age }) };
    const faults = [
      ...(dead > 0 ? [`${shown(dead)} dead letters`] : []),
      ...(age !== undefined && age > maxAge ? [`a message that has waited for ${age} ms`] : []),
    ];
    if (faults.length === 0) return { status: 'healthy', details };
    return { status: 'degraded', message: `The outbox has ${faults.join(' and ')}`, details };
  }

  async close(): Promise<void> {
    this.known = undefined;
  }

  private async backlog(signal: AbortSignal): Promise<OutboxBacklog> {
    const { backend, clock } = this.options;
    const began = clock.monotonic();
    if (this.known !== undefined && began - this.known.at < FRESH) return this.known.backlog;
    const context = { now: clock.now(), deadline: began + PATIENCE, signal };
    const backlog = await readBacklog(backend, context, MOST + 1);
    this.known = { backlog, at: began };
    return backlog;
  }
}

function shown(count: number): number | string {
  return count > MOST ? `${MOST}+` : count;
}
