/** The operations of a relay: on its tables, each within a time, all of them until a signal. */
import { COUNTERS } from '../../collection/counters.js';
import { runOperation, type CollectionHost } from '../../collection/host.js';
import type { BeginOperation, OperationContext } from '../../component.js';
import { OUTBOX_TABLES } from '../outbox/records.js';

/** @param timeout milliseconds; default: the relay's lease. */
export type Operate = <R>(work: (context: OperationContext) => Promise<R>, timeout?: number) => Promise<R>;

/** @param signal aborts those that are under way when it aborts, and each that begins later. */
export function operations(host: CollectionHost, lease: number, signal: AbortSignal): Operate {
  return (work, timeout = lease) =>
    runOperation(host, [...OUTBOX_TABLES, COUNTERS], 'relay', { timeout, signal }, work);
}

/**
 * The host of what is done within an admitted operation: each part has its own time, and is not admitted by itself. A manager
 * that closes would refuse it, and waits for the whole.
 */
export function withinAdmitted(host: CollectionHost, component: () => string | undefined): CollectionHost {
  const { clock } = host;
  const begin: BeginOperation = (_operation, { timeout = Infinity, signal } = {}) => {
    const context = { now: clock.now(), deadline: clock.monotonic() + timeout, signal };
    const name = component();
    return { context, end: () => undefined, ...(name === undefined ? {} : { component: name }) };
  };
  return { ...host, begin };
}
