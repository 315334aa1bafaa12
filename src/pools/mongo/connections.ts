/** Counts the client's connections by the events of its pools. */
import type { MongoClient } from 'mongodb';

export class Connections {
  private readonly open = new Set<string>();

  watch(client: MongoClient): void {
    const key = ({ address, connectionId }: { address: string; connectionId: unknown }): string =>
      `${address} ${String(connectionId)}`;
    client.on('connectionReady', (event) => void this.open.add(key(event)));
    client.on('connectionClosed', (event) => void this.open.delete(key(event)));
  }

  get size(): number {
    return this.open.size;
  }
}
