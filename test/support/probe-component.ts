import type { CheckResult, Component, OpenContext } from '../../src/component.js';

/** A promise that a test settles. */
export class Gate<T = void> {
  readonly promise: Promise<T>;
  resolve!: (value: T) => void;
  reject!: (reason: unknown) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}

interface Behaviour {
  readonly open?: (context: OpenContext) => Promise<void>;
  readonly check?: (signal: AbortSignal) => Promise<CheckResult>;
  readonly close?: (deadline: number) => Promise<void>;
}

/** A component without a database: it does what the test says and writes down what was asked of it. */
export class ProbeComponent implements Component {
  opens = 0;
  checks = 0;
  closes = 0;
  closeDeadline: number | undefined;
  signal: AbortSignal | undefined;

  constructor(
    readonly name: string,
    private readonly behaviour: Behaviour = {},
    private readonly journal: string[] = [],
  ) {}

  open(context: OpenContext): Promise<void> {
    this.opens += 1;
    this.signal = context.signal;
    this.journal.push(`open ${this.name}`);
    return this.behaviour.open?.(context) ?? Promise.resolve();
  }

  check(signal: AbortSignal): Promise<CheckResult> {
    this.checks += 1;
    return this.behaviour.check?.(signal) ?? Promise.resolve({ status: 'healthy' });
  }

  close(deadline: number): Promise<void> {
    this.closes += 1;
    this.closeDeadline = deadline;
    this.journal.push(`close ${this.name}`);
    return this.behaviour.close?.(deadline) ?? Promise.resolve();
  }
}
