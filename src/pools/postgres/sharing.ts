/** Connections on which statements that stand for themselves let others join them. */
import type { Connection } from './connection.js';

/** How many statements may be on their way on one connection. */
export const MOST = 64;

export class Sharing {
  private readonly shared = new Set<Connection>();

  /** Lets others join the one that has it. */
  offer(connection: Connection): void {
    this.shared.add(connection);
  }

  /** The one with the fewest, with one more; `undefined`: none can be joined. */
  join(now: number): Connection | undefined {
    let least: Connection | undefined;
    for (const connection of this.shared)
      if (connection.users < (least?.users ?? MOST) && isOpen(connection, now)) least = connection;
    if (least !== undefined) least.users++;
    return least;
  }

  /** @returns whether it was the last that had it. */
  leave(connection: Connection): boolean {
    if (connection.users > 1) {
      connection.users--;
      return false;
    }
    this.shared.delete(connection);
    return true;
  }
}

/** One that a statement has left in a transaction is not joined, nor one that is to be closed: it would never be. */
function isOpen({ status, endedBy, obsolete, expiresAt }: Connection, now: number): boolean {
  return status === 'I' && endedBy === undefined && !obsolete && expiresAt > now;
}
