/** The runs of the retention that nobody asks for: one every `retention.interval` milliseconds. */
import type { RetentionReport } from './adapters/retention.js';
import type { Clock } from './clock.js';
import type { CheckResult, Component } from './component.js';
import { foreignErrorName, isStorageError } from './errors.js';
import { Recurring } from './recurring.js';

export interface RetentionRunsOptions {
  readonly name: string;
  readonly clock: Clock;
  /** Milliseconds from the end of one run to the next, give or take a tenth. */
  readonly interval: number;
  readonly run: (signal: AbortSignal) => Promise<RetentionReport>;
}

const STORES = ['conversations', 'tasks', 'jobs', 'agents'] as const;

export class RetentionRuns implements Component {
  readonly name: string;
  private readonly recurring: Recurring;
  private last: RetentionReport | undefined;

  constructor({ name, clock, interval, run }: RetentionRunsOptions) {
    this.name = name;
    const work = async (signal: AbortSignal): Promise<void> => void (this.last = await run(signal));
    this.recurring = new Recurring({ clock, interval, work });
  }

  async open(): Promise<void> {
    this.recurring.start();
  }

  /** What a run leaves costs room, not data. The details have the last report, without the tenants. */
  async check(): Promise<CheckResult> {
    const { last } = this;
    const { failure } = this.recurring;
    const details = last === undefined ? {} : { lastRun: shown(last) };
    const failed = last === undefined ? [] : STORES.filter((store) => last[store].status === 'failed');
    if (failure === undefined && failed.length === 0) return { status: 'healthy', details };
    const reason =
      failure === undefined
        ? `of ${failed.join(', ')}`
        : `(${isStorageError(failure) ? failure.code : foreignErrorName(failure)})`;
    return { status: 'degraded', message: `The last run of the retention failed ${reason}`, details };
  }

  close(deadline: number): Promise<void> {
    return this.recurring.stop(deadline);
  }
}

function shown({ startedAt, finishedAt, ...report }: RetentionReport): Record<string, unknown> {
  const stores = STORES.map((store) => {
    const { status, total, tenants, error } = report[store];
    const code = error?.code ?? tenants.find((tenant) => tenant.error !== undefined)?.error?.code;
    return [store, { status, total, ...(code === undefined ? {} : { error: code }) }];
  });
  const times = { startedAt: startedAt.toISOString(), finishedAt: finishedAt.toISOString() };
  return { ...times, ...(Object.fromEntries(stores) as Record<string, unknown>) };
}
