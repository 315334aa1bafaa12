/** The health of the pool and of the server it leads to. */
import type { CheckResult } from '../../component.js';
import { isStorageError } from '../../errors.js';
import { offsetWarning } from '../clock-offset.js';
import type { Connections } from './connections.js';
import type { Measure } from './probe.js';

/**
 * @param found what the server said, or why it said nothing.
 * @param clockOffset as it is known by now.
 */
export function healthOf(found: Measure | Error, connections: Connections, clockOffset: number): CheckResult {
  const figures = connections.figures();
  const leaks = connections.leaks();
  const pool = { ...figures, ...(leaks.length > 0 && { leaks }) };
  if (found instanceof Error) {
    const reason = isStorageError(found) ? found.message : 'The database does not answer';
    return { status: 'unhealthy', message: reason, details: pool };
  }
  const { version, readOnly, latency } = found;
  const details = { ...pool, version, latency: Math.round(latency * 100) / 100, clockOffset, readOnly };
  if (readOnly) return { status: 'degraded', message: 'The server accepts no writes', details };
  if (leaks.length > 0)
    return { status: 'degraded', message: `${leaks.length} connections are held longer than leakTimeout`, details };
  if (figures.waiting > 0 && figures.size === figures.max && figures.idle === 0)
    return {
      status: 'degraded',
      message: `All ${figures.max} connections are in use, and ${figures.waiting} operations wait`,
      details,
    };
  const warning = offsetWarning(clockOffset);
  if (warning !== undefined) return { status: 'degraded', message: warning, details };
  return { status: 'healthy', details };
}
