/** A way to the server that a test can cut, freeze, close, or make lose or replace an answer. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { BSON, type Document } from 'mongodb';

interface Loss {
  readonly command: string;
  readonly times: number;
  /** Whether the server is gone with the answer. */
  readonly forGood: boolean;
}

interface Instead {
  readonly command: string;
  readonly answer: Document;
  readonly reaches: boolean;
  readonly times: number;
}

export class Proxy {
  private readonly pairs = new Map<Socket, Socket>();
  private readonly sent = new Map<string, number>();
  /** How many connections clients have opened. */
  accepted = 0;
  private frozen = false;
  private cold: { readonly command: string; readonly onFrozen: () => void } | undefined;
  private black: { readonly command: string; readonly times: number } | undefined;
  private readonly dead = new Set<Socket>();
  private gone = false;
  private loss: Loss | undefined;
  private instead: Instead | undefined;
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

  /** Those of them on which nothing passes since `blackHoleAt`. */
  get deadConnections(): number {
    return this.dead.size;
  }

  /** How often clients sent this command; the commands of their monitors are not counted. */
  count(command: string): number {
    return this.sent.get(command) ?? 0;
  }

  /** From now on nothing passes in either direction, and nothing is closed. */
  freeze(): void {
    this.frozen = true;
  }

  /** The next of the command does not pass, nor does anything after it. */
  freezeAt(command: string, onFrozen = (): void => undefined): void {
    this.cold = { command, onFrozen };
  }

  /** The next `times` of the command do not pass until `thaw`, nor does anything after them on their connections. */
  blackHoleAt(command: string, times = 1): void {
    this.black = { command, times };
  }

  /** Resets the dead connections. */
  cutDead(): void {
    for (const client of this.dead) client.resetAndDestroy();
  }

  thaw(): void {
    this.frozen = false;
    this.dead.clear();
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
    this.loss = { command, times, forGood: false };
  }

  /** The next of the command reaches the server; instead of the answer the server is `gone`. */
  loseServerAt(command: string): void {
    this.loss = { command, times: 1, forGood: true };
  }

  /** Resets every connection, and each that is opened until `comeBack`. */
  goAway(): void {
    this.gone = true;
    this.cut();
  }

  comeBack(): void {
    this.gone = false;
  }

  /** The next `times` of the command, but for those whose answers are lost, are answered with this; `reaches`: the server has them all the same. */
  answerWith(command: string, answer: Document, { reaches = false, times = 1 } = {}): void {
    this.instead = { command, answer, reaches, times };
  }

  async close(): Promise<void> {
    this.cut();
    this.server.close();
    await once(this.server, 'close');
  }

  private accept(client: Socket): void {
    if (this.gone) return void client.resetAndDestroy();
    const server = connect(this.target.port, this.target.host);
    this.pairs.set(client, server);
    this.accepted++;
    let loses: Loss | undefined;
    let replaced: Buffer | undefined;
    client.on('data', (chunk: Buffer) => {
      const command = commandOf(chunk);
      if (command !== undefined && command === this.cold?.command) {
        this.freeze();
        this.cold.onFrozen();
        this.cold = undefined;
      }
      if (this.frozen) {
        client.pause();
        client.unshift(chunk);
        return;
      }
      if (command !== undefined && command === this.black?.command && this.black.times > 0) {
        this.black = { command, times: this.black.times - 1 };
        this.dead.add(client);
      }
      if (this.dead.has(client)) {
        client.pause();
        client.unshift(chunk);
        return;
      }
      if (command !== undefined) this.sent.set(command, this.count(command) + 1);
      if (command !== undefined && command === this.loss?.command && this.loss.times > 0) {
        loses = this.loss;
        this.loss = { ...loses, times: loses.times - 1 };
      } else if (command !== undefined && command === this.instead?.command && this.instead.times > 0) {
        const { answer, reaches, times } = this.instead;
        this.instead = { ...this.instead, times: times - 1 };
        const message = answerTo(chunk, answer);
        if (!reaches) return void client.write(message);
        replaced = message;
      }
      server.write(chunk);
    });
    server.on('data', (chunk: Buffer) => {
      if (loses !== undefined) {
        if (loses.forGood) this.goAway();
        else client.resetAndDestroy();
        server.destroy();
      } else if (replaced !== undefined) {
        client.write(replaced);
        replaced = undefined;
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
        this.dead.delete(client);
      });
    }
  }
}

const OP_MSG = 2013;

/** An OP_MSG that answers `request`. */
function answerTo(request: Buffer, answer: Document): Buffer {
  const body = BSON.serialize(answer);
  const message = Buffer.alloc(21 + body.length);
  message.writeInt32LE(message.length, 0);
  message.writeInt32LE(request.readInt32LE(4), 8);
  message.writeInt32LE(OP_MSG, 12);
  message.set(body, 21);
  return message;
}

/** The name of the command in an OP_MSG: the first key of its document. */
function commandOf(message: Buffer): string | undefined {
  if (message.length < 27 || message.readInt32LE(12) !== OP_MSG || message[20] !== 0) return undefined;
  return message.toString('latin1', 26, message.indexOf(0, 26));
}
