/** A way to a server that a test can cut, freeze, slow down, or make lose the answers. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setImmediate, setTimeout as after } from 'node:timers/promises';

export class Proxy {
  /** How often a client spoke after the server had answered what it said before; greetings and cancels do not count. */
  roundTrips = 0;
  private readonly pairs = new Map<Socket, Socket>();
  private change: ((sent: Buffer) => void) | undefined;
  private lose: ((sent: Buffer) => boolean) | undefined;
  private ownAnswer: { readonly fits: (sent: Buffer) => boolean; readonly answer: Buffer } | undefined;
  private frozen = false;
  private latency = 0;
  private trickling = false;
  private messagesLeft = Infinity;
  private holding: Buffer | undefined;
  private lingering = false;
  private readonly kept = new Map<Socket, Buffer>();

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

  /** From now on everything takes so many milliseconds more, in each direction. */
  delay(milliseconds: number): void {
    this.latency = milliseconds;
  }

  /** From now on bytes go on one at a time. */
  trickle(): void {
    this.trickling = true;
  }

  /** Lets so many more messages of clients pass; the next one resets every connection, and so does each that is opened. */
  cutAfter(messages: number): void {
    this.messagesLeft = messages;
  }

  /** From now on nobody is told that the other side has ended. */
  linger(): void {
    this.lingering = true;
  }

  /** From now on keeps back what a server says from these bytes on, also that it goes. */
  keepBack(from: Buffer): void {
    this.holding = from;
  }

  /** What is kept back for each connection. */
  keptBack(): Buffer[] {
    return [...this.kept.values()];
  }

  /** Lets it go, all of it at once. */
  letGo(): void {
    this.holding = undefined;
    for (const [client, bytes] of this.kept) client.write(bytes);
    for (const client of this.kept.keys()) if (this.pairs.get(client)?.destroyed === true) client.end();
    this.kept.clear();
  }

  /** The connections of clients that are open. */
  get connections(): number {
    return this.pairs.size;
  }

  /** Lets the next message of a client that fits reach the server, and cuts that connection when the answer comes. */
  loseAnswerTo(fits: (sent: Buffer) => boolean): void {
    this.lose = fits;
  }

  /** From now on changes what clients say before the server hears it. */
  alter(change: (sent: Buffer) => void): void {
    this.change = change;
  }

  /** From now on answers what a client says and fits, in the server's place. @returns what was answered so. */
  answer(fits: (sent: Buffer) => boolean, answer: Buffer): { readonly sent: readonly Buffer[] } {
    const sent: Buffer[] = [];
    this.ownAnswer = { fits: (data) => fits(data) && sent.push(data) > 0, answer };
    return { sent };
  }

  /** From now on what a client says and fits reaches nobody. @returns what was kept from the server so. */
  swallow(fits: (sent: Buffer) => boolean): { readonly sent: readonly Buffer[] } {
    return this.answer(fits, Buffer.alloc(0));
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
    const toServer = this.passage(server);
    const toClient = this.passage(client);
    client.on('data', (data) => {
      if (this.frozen) return;
      if (this.messagesLeft-- <= 0) return this.cut();
      if (answered) this.roundTrips++;
      answered = false;
      this.change?.(data);
      if (this.ownAnswer?.fits(data) === true) return toClient(this.ownAnswer.answer);
      if (this.lose?.(data) === true) {
        losing = true;
        this.lose = undefined;
      }
      toServer(data);
    });
    server.on('data', (data) => {
      if (this.frozen) return;
      answered = true;
      const kept = this.keep(client, data);
      if (kept < data.length && kept > 0) toClient(data.subarray(0, kept));
      if (kept < data.length) return;
      if (losing) client.resetAndDestroy();
      else toClient(data);
    });
    const end = (): void => {
      if (this.frozen || this.lingering || (this.kept.has(client) && !client.destroyed)) return;
      this.pairs.delete(client);
      this.kept.delete(client);
      server.end();
      client.destroy();
    };
    for (const socket of [client, server]) {
      socket.on('error', () => undefined);
      socket.on('close', end);
    }
  }

  /** @returns how many of the bytes are not kept back. */
  private keep(client: Socket, data: Buffer): number {
    const before = this.kept.get(client);
    const at = before !== undefined ? 0 : this.holding === undefined ? -1 : data.indexOf(this.holding);
    if (at < 0) return data.length;
    this.kept.set(client, Buffer.concat([before ?? Buffer.alloc(0), data.subarray(at)]));
    return at;
  }

  /** Passes on what comes, in its order. */
  private passage(to: Socket): (data: Buffer) => void {
    let underWay = 0;
    let last = Promise.resolve();
    const pass = async (data: Buffer): Promise<void> => {
      if (this.trickling) to.setNoDelay(true);
      const step = this.trickling ? 1 : data.length;
      for (let at = 0; at < data.length && to.writable; at += step) {
        to.write(data.subarray(at, at + step));
        if (this.trickling) await setImmediate();
      }
    };
    return (data) => {
      if (this.latency === 0 && !this.trickling && underWay === 0) return void to.write(data);
      underWay++;
      const arrival = after(this.latency);
      last = last
        .then(() => arrival)
        .then(() => pass(data))
        .finally(() => underWay--);
    };
  }
}
