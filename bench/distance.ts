/** A server that is further away: what passes waits a millisecond in each direction, as between two data centres of a region. */
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';

const DELAY = 1;

/** @param work gets the URL by which the server is so far away */
export async function atDistance<R>(url: string, work: (url: string) => Promise<R>): Promise<R> {
  const { hostname, port } = new URL(url);
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect({ host: hostname, port: Number(port), noDelay: true });
    client.setNoDelay(true);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      // Timers of one length keep their order.
      from.on('data', (chunk) => void setTimeout(() => to.writable && to.write(chunk), DELAY));
      from.on('error', () => to.destroy());
      from.on('close', () => to.destroy());
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const far = new URL(url);
  far.hostname = '127.0.0.1';
  far.port = String((server.address() as AddressInfo).port);
  try {
    return await work(far.href);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}
