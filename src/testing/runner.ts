import type { Magnitudes } from '../component.js';

/** What the suites need of a test runner: jest, vitest and node:test all have it. */
export interface TestRunner {
  readonly describe: (name: string, body: () => void) => void;
  readonly test: (name: string, body: () => Promise<void> | void) => void;
  readonly beforeAll: (body: () => Promise<void> | void) => void;
  readonly afterAll: (body: () => Promise<void> | void) => void;
}

/** How many cases the property tests run: `QUARTERMASTER_CASES`, else 2,000. `QUARTERMASTER_SEED` replays a failure. */
export interface PropertyOptions {
  /** The numbers to draw from, by their absolute value. */
  readonly magnitudes?: Magnitudes | undefined;
  /** Unique keys go by deletion only. */
  readonly keepsUniqueKeys?: boolean | undefined;
  readonly cases?: number;
  readonly seed?: number;
}
