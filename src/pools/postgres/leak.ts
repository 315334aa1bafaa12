/** Connections that were taken and not given back. */
import type { Connection } from './connection.js';

export interface Leak {
  /** Milliseconds. */
  readonly heldFor: number;
  /** Of who took it. */
  readonly stack: string;
}

export function leaksOf(connections: Iterable<Connection>, now: number, limit: number): Leak[] {
  const leaks: Leak[] = [];
  for (const { takenBy, takenAt } of connections)
    if (takenBy !== undefined && now - takenAt > limit)
      leaks.push({ heldFor: Math.round(now - takenAt), stack: takenBy });
  return leaks;
}
