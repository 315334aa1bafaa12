/** A way to the server that a test can cut, freeze, or make lose the answers. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

export class Proxy {
  /** How often a client spoke after the server had answered what it said before; greetings and cancels do not count. */
  roundTrips = 0;
  private readonly pairs = new Map<Socket, Socket>();
  private lose: ((sent: Buffer) => boolean) | undefined;
  private frozen = false;

  private constructor(
    private readonly server: Server,
    private readonly target: { readonly host: string; readonly port: number },
  ) {
    server.on('connection', (client) => this.accept(client));
  }

  static async open(url: string, at = 0): Promise<Proxy> {
    const { hostname: host, port } = new URL(url);
    const server = createServer();
    server.listen(at, '127.0.0.1');
    await once(server, 'listening');
    return new Proxy(server, { host, port: Number(port) });
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** From now on nothing passes, in either direction, and nothing is closed: a server that is frozen, a cable that is out. */
  freeze(): void {
    this.frozen = true;
  }

  thaw(): void {
    this.frozen = false;
  }

  /** Resets every connection. */
  cut(): void {
    for (const [client, server] of this.pairs) {
      if (!client.destroyed) client.resetAndDestroy();
      server.destroy();
    }
    this.pairs.clear();
  }

  /** Lets the next message of a client that fits reach the server, and cuts that connection when the answer comes. */
  loseAnswerTo(fits: (sent: Buffer) => boolean): void {
    this.lose = fits;
  }

  async close(): Promise<void> {
    this.cut();
    this.server.close();
    await once(this.server, 'close');
  }

  private accept(client: Socket): void {
    const server = connect(this.target);
    this.pairs.set(client, server);
    let answered = false;
    let losing = false;
    client.on('data', (data) => {
      if (this.frozen) return;
      if (answered) this.roundTrips++;
      answered = false;
      if (this.lose?.(data) === true) {
        losing = true;
        this.lose = undefined;
      }
      server.write(data);
    });
    server.on('data', (data) => {
      if (this.frozen) return;
      answered = true;
      if (losing) client.resetAndDestroy();
      else client.write(data);
    });
    const end = (): void => {
      if (this.frozen) return;
      this.pairs.delete(client);
      server.end();
      client.destroy();
    };
    for (const socket of [client, server]) {
      socket.on('error', () => undefined);
      socket.on('close', end);
    }
  }
}
