import type { Magnitudes } from '../component.js';

/** What the suites need of a test runner: jest, vitest and node:test all have it. */
export interface TestRunner {
  readonly describe: (name: string, body: () => void) => void;
  readonly test: (name: string, body: () => Promise<void> | void) => void;
  readonly beforeAll: (body: () => Promise<void> | void) => void;
  readonly afterAll: (body: () => Promise<void> | void) => void;
}

export interface PropertyOptions {
  /** How many cases each property test draws. Default: 2,000. */
  readonly cases?: number;
  /** Repeats the cases of a run: a failure prints its seed. Default: another one each time. */
  readonly seed?: number;
}

/** What cases are drawn by: the options, and what the target says of its server. */
export interface DrawOptions extends PropertyOptions {
  /** The numbers to draw from, by their absolute value. Absent: all. */
  readonly magnitudes?: Magnitudes | undefined;
  /** Unique keys go by deletion only. Default: false. */
  readonly keepsUniqueKeys?: boolean | undefined;
}
