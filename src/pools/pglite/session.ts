/** The open database of a pool, and the transaction that has its connection. */
import type { PGlite } from '@electric-sql/pglite';
import type { Clock } from '../../clock.js';
import type { CheckResult, OperationContext } from '../../component.js';
import { LocalSession } from '../local-session.js';
import type { Pool } from '../pool.js';
import type { Slot } from '../slot.js';
import type { Database } from './database.js';
import type { Maintenance } from './maintenance.js';

export interface Opened extends Database {
  readonly slot: Slot;
  readonly maintenance: Maintenance;
  /** What `storage.sql()` gives. */
  readonly host: PGlite;
  /** The transaction that has the slot. */
  session: PgliteSession | undefined;
  lastSuccess: number;
}

export class PgliteSession extends LocalSession {
  constructor(
    pool: Pool,
    readonly opened: Opened,
    bounds: OperationContext,
    clock: Clock,
  ) {
    super(pool, bounds, clock);
  }
}

/** The health of a database whose connection is in use: for how long, and since when nothing has succeeded. */
export function busyReport({ slot, lastSuccess }: Opened, now: number, patience: number): CheckResult {
  const busyFor = Math.round(now - (slot.busySince ?? now));
  const sinceLastSuccess = Math.round(now - lastSuccess);
  const details = { ...slot.figures(), busyFor, sinceLastSuccess };
  if (busyFor < patience) return { status: 'healthy', details };
  const status = sinceLastSuccess < patience ? 'degraded' : 'unhealthy';
  return { status, message: `The only connection has been busy for ${busyFor} ms`, details };
}
