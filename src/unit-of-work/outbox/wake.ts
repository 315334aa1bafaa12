/** Tells the relays of this process that a transaction of this process has left them something. */
import type { RecordBackend } from '../../backends/backend.js';

const sleepers = new WeakMap<RecordBackend, Set<() => void>>();

/** Calls `listener` at each wake-up until the returned function is called. */
export function onWake(backend: RecordBackend, listener: () => void): () => void {
  let listeners = sleepers.get(backend);
  if (listeners === undefined) sleepers.set(backend, (listeners = new Set()));
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

export function wake(backend: RecordBackend): void {
  for (const listener of sleepers.get(backend) ?? []) listener();
}
