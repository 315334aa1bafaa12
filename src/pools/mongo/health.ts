/** The health of the pool over a server that answers. */
import type { CheckResult } from '../../component.js';
import { offsetWarning } from '../clock-offset.js';
import type { PoolFigures } from '../pool.js';
import type { Deployment } from './connect.js';

/** @param clockOffset as it is known by now. */
export function healthOf(
  { transactions }: Deployment,
  figures: PoolFigures,
  clockOffset: number | undefined,
): CheckResult {
  const details = { ...figures, transactions, clockOffset };
  const { waiting, max } = figures;
  // Who waits has found all turns taken.
  if (waiting > 0)
    return {
      status: 'degraded',
      message: `All ${max} connections are in use, and ${waiting} operations wait`,
      details,
    };
  const warning = offsetWarning(clockOffset ?? 0);
  if (warning !== undefined) return { status: 'degraded', message: warning, details };
  return { status: 'healthy', details };
}
