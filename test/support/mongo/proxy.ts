/** A way to the server that a test can cut, freeze, close, or make lose an answer. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

interface Loss {
  readonly command: string;
  readonly times: number;
}

export class Proxy {
  private readonly pairs = new Map<Socket, Socket>();
  private readonly sent = new Map<string, number>();
  /** How many connections clients have opened. */
  accepted = 0;
  private frozen = false;
  private loss: Loss | undefined;
  private constructor(
    private readonly server: Server,
    private readonly target: { readonly host: string; readonly port: number },
  ) {
    server.on('connection', (client) => this.accept(client));
  }

  static async open(url: string): Promise<Proxy> {
    const [, host = '', port = ''] = /\/\/(?:[^@/]*@)?([^:/]+):(\d+)/.exec(url) ?? [];
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Proxy(server, { host, port: Number(port) });
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** The same URL, by this way. */
  through(url: string): string {
    return url.replace(/(\/\/(?:[^@/]*@)?)[^:/]+:\d+/, `$1127.0.0.1:${this.port}`);
  }

  /** The connections of clients that are open. */
  get connections(): number {
    return this.pairs.size;
  }

  /** How often clients sent this command; the commands of their monitors are not counted. */
  count(command: string): number {
    return this.sent.get(command) ?? 0;
  }

  /** From now on nothing passes in either direction, and nothing is closed. */
  freeze(): void {
    this.frozen = true;
  }

  thaw(): void {
    this.frozen = false;
    for (const [client, server] of this.pairs) {
      client.resume();
      server.resume();
    }
  }

  /** Resets every connection. */
  cut(): void {
    for (const [client, server] of this.pairs) {
      if (!client.destroyed) client.resetAndDestroy();
      server.destroy();
    }
    this.pairs.clear();
  }

  /** The next `times` of the command reach the server; instead of the answer the connection is reset. */
  loseAnswers(command: string, times = 1): void {
    this.loss = { command, times };
  }

  async close(): Promise<void> {
    this.cut();
    this.server.close();
    await once(this.server, 'close');
  }

  private accept(client: Socket): void {
    const server = connect(this.target.port, this.target.host);
    this.pairs.set(client, server);
    this.accepted++;
    let loses = false;
    client.on('data', (chunk: Buffer) => {
      if (this.frozen) {
        client.pause();
        client.unshift(chunk);
        return;
      }
      const command = commandOf(chunk);
      if (command !== undefined) this.sent.set(command, this.count(command) + 1);
      if (command !== undefined && command === this.loss?.command && this.loss.times > 0) {
        this.loss = { command, times: this.loss.times - 1 };
        loses = true;
      }
      server.write(chunk);
    });
    server.on('data', (chunk: Buffer) => {
      if (loses) {
        client.resetAndDestroy();
        server.destroy();
      } else if (this.frozen) {
        server.pause();
        server.unshift(chunk);
      } else if (!client.destroyed) {
        client.write(chunk);
      }
    });
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      one.on('error', () => other.destroy());
      one.on('close', () => {
        other.destroy();
        this.pairs.delete(client);
      });
    }
  }
}

/** The name of the command in an OP_MSG: the first key of its document. */
function commandOf(message: Buffer): string | undefined {
  const OP_MSG = 2013;
  if (message.length < 27 || message.readInt32LE(12) !== OP_MSG || message[20] !== 0) return undefined;
  return message.toString('latin1', 26, message.indexOf(0, 26));
}
