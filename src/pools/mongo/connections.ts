/** Counts the client's connections by the events of its pools. */
import type { MongoClient } from 'mongodb';

export class Connections {
  private readonly open = new Set<string>();
  private readonly busy = new Set<string>();

  watch(client: MongoClient): void {
    const key = ({ address, connectionId }: { address: string; connectionId: unknown }): string =>
      `${address} ${String(connectionId)}`;
    client.on('connectionReady', (event) => void this.open.add(key(event)));
    client.on('connectionCheckedOut', (event) => void this.busy.add(key(event)));
    client.on('connectionCheckedIn', (event) => void this.busy.delete(key(event)));
    client.on('connectionClosed', (event) => {
      this.open.delete(key(event));
      this.busy.delete(key(event));
    });
  }

  get size(): number {
    return this.open.size;
  }

  get idle(): number {
    return Math.max(0, this.open.size - this.busy.size);
  }
}
