/** What a caller may say about steps and settling. What is misspelt is refused: a dry run would be a real one. */
import type { CallOptions } from '../component.js';
import { checkKnown, invalid } from '../errors.js';

export interface MigrateOptions extends CallOptions {
  /** Says what would run and runs nothing. */
  readonly dryRun?: boolean | undefined;
  /** Milliseconds that one step may take; default 600,000 (ten minutes). */
  readonly timeout?: number | undefined;
  /** Milliseconds to wait while another process migrates; default 300,000 (five minutes). */
  readonly wait?: number | undefined;
}

export interface SettleOptions extends CallOptions {
  /** A database of the settings; default: `stores.default`. */
  readonly on?: string | undefined;
  /** Tells which indexes would be dropped, and changes nothing. */
  readonly dryRun?: boolean | undefined;
}

const CALL = ['signal', 'timeout'];
const KEYS = {
  migrations: new Set(['on', 'tenant']),
  status: new Set(CALL),
  run: new Set([...CALL, 'dryRun', 'wait', 'to']),
  settle: new Set([...CALL, 'on', 'dryRun']),
};

/** @throws `VALIDATION` */
export function checkMigrateOptions(options: object | undefined, kind: keyof typeof KEYS): void {
  checkKnown(options, KEYS[kind]);
  const { dryRun } = (options ?? {}) as { readonly dryRun?: unknown };
  if (dryRun !== undefined && typeof dryRun !== 'boolean') throw invalid('dryRun', dryRun, 'true or false');
}
