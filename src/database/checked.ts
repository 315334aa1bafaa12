/** What the health report says of a database beyond what its pool and its backend know by themselves. */
import type { RecordBackend } from '../backends/backend.js';
import type { Clock } from '../clock.js';
import type { CheckResult, Component } from '../component.js';
import { isPlainObject } from '../filter/json.js';
import type { Tables } from './tables.js';

/** Milliseconds that a refused database is asked whether it is still refused. */
const PATIENCE = 1_000;

/** Where it is: a service whose URL is not the one that was meant is found by it. @param url without its secrets */
export function showingUrl(pool: Component, url: unknown): Component {
  return checkedBy(pool, async (signal) => {
    const result = await pool.check(signal);
    // What a third party answers may be anything; the report looks at it.
    return isPlainObject(result) ? { ...result, details: { url, ...(result.details ?? {}) } } : result;
  });
}

/** A database that a newer library has changed refuses every operation: no requests are to be sent to this process. */
export function tellingRefusal(backend: RecordBackend, tables: Tables, clock: Clock): Component {
  return checkedBy(backend, async (signal) => {
    const result = await backend.check(signal);
    const context = { now: clock.now(), deadline: clock.monotonic() + PATIENCE, signal };
    const refusal = await tables.refusalOfAll(backend, context);
    return refusal === undefined ? result : { ...result, status: 'unhealthy', message: refusal.message };
  });
}

function checkedBy(component: Component, check: (signal: AbortSignal) => Promise<CheckResult>): Component {
  return {
    name: component.name,
    open: (context) => component.open(context),
    check,
    close: (deadline) => component.close(deadline),
  };
}
