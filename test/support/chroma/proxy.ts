/** A way to the Chroma server on which a test can answer a request itself: with an error, with half an answer, or never. */
import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export type Fault =
  | 'hang'
  /** The connection is reset before the server has the request. */
  | 'reset'
  /** The server has the request; its answer is lost with the connection. */
  | 'lose'
  /** The connection ends after half of the answer. */
  | 'half'
  /** The answer ends as if it were whole, after half of it. */
  | 'cut short'
  | Answer;

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
}

/** What a proxy in front of a server asks for, of every request. */
export interface Guard {
  /** Before `/api/v2`; the server does not see it. */
  readonly prefix?: string;
  readonly header?: readonly [name: string, value: string];
}

const JSON_TYPE = { 'content-type': 'application/json' };

export class ChromaProxy {
  readonly seen: Seen[] = [];
  /** The most requests that were in flight at once. */
  busiest = 0;
  private readonly sockets = new Set<Socket>();
  private faults: { readonly path: RegExp; readonly fault: Fault; times: number }[] = [];
  private active = 0;
  private held: { readonly path: RegExp; readonly work: () => Promise<void> } | undefined;

  private constructor(
    private readonly server: Server,
    private readonly target: URL,
    private readonly guard: Guard,
  ) {
    server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
    server.on('request', (from, to) => void this.answer(from, to).catch(() => from.destroy()));
  }

  static async open(url: string, guard: Guard = {}): Promise<ChromaProxy> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new ChromaProxy(server, new URL(url), guard);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** The next `times` requests whose method and path fit meet the fault. */
  meet(path: RegExp, fault: Fault, times = Infinity): void {
    this.faults.push({ path, fault, times });
  }

  /** Holds the next request whose method and path fit until `work` is done. */
  hold(path: RegExp, work: () => Promise<void>): void {
    this.held = { path, work };
  }

  heal(): void {
    this.faults = [];
  }

  /** How many requests fit, of those since the proxy was opened. */
  count(path: RegExp): number {
    return this.seen.filter(({ method, path: own }) => path.test(`${method} ${own}`)).length;
  }

  async close(): Promise<void> {
    if (!this.server.listening) return;
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }

  private async answer(from: IncomingMessage, to: ServerResponse): Promise<void> {
    const { method = '', url: path = '', headers } = from;
    this.seen.push({ method, path, headers });
    this.busiest = Math.max(this.busiest, ++this.active);
    to.on('close', () => this.active--);
    const chunks: Buffer[] = [];
    for await (const chunk of from) chunks.push(chunk as Buffer);
    if (this.held?.path.test(`${method} ${path}`)) {
      const { work } = this.held;
      this.held = undefined;
      await work();
    }
    const fault = this.faultFor(`${method} ${path}`) ?? this.refusal(path, headers);
    if (fault === 'hang') return;
    if (fault === 'reset') return void from.socket.resetAndDestroy();
    if (typeof fault === 'object') {
      to.writeHead(fault.status, fault.headers);
      return void to.end(fault.body);
    }
    const { status, type, body } = await this.forward(
      method,
      path.slice(this.guard.prefix?.length ?? 0),
      headers,
      Buffer.concat(chunks),
    );
    const half = body.subarray(0, Math.ceil(body.length / 2));
    if (fault === 'lose') return void from.socket.resetAndDestroy();
    if (fault === 'half') {
      to.writeHead(status, { 'content-type': type, 'content-length': body.length });
      to.write(half, () => from.socket.destroy());
      return;
    }
    to.writeHead(status, { 'content-type': type });
    to.end(fault === 'cut short' ? half : body);
  }

  private refusal(path: string, headers: IncomingMessage['headers']): Answer | undefined {
    const { prefix = '', header } = this.guard;
    if (!path.startsWith(`${prefix}/api/`))
      return { status: 404, headers: { 'content-type': 'text/html' }, body: 'Gone' };
    const given = header && headers[header[0]];
    if (header === undefined || given === header[1]) return undefined;
    // With what was sent, as careless proxies do.
    const body = JSON.stringify({ error: 'AuthError', message: `Refused: ${String(given)}` });
    return { status: given === undefined ? 401 : 403, headers: JSON_TYPE, body };
  }

  private faultFor(line: string): Fault | undefined {
    const found = this.faults.find(({ path, times }) => times > 0 && path.test(line));
    if (found !== undefined) found.times--;
    return found?.fault;
  }

  private async forward(
    method: string,
    path: string,
    headers: IncomingMessage['headers'],
    body: Buffer,
  ): Promise<{ status: number; type: string; body: Buffer }> {
    const { hostname, port } = this.target;
    const kept = Object.fromEntries(Object.entries(headers).filter(([name]) => name !== 'transfer-encoding'));
    const forwarded = { ...kept, host: this.target.host, 'content-length': body.length, connection: 'close' };
    const sent = request({ hostname, port, method, path, headers: forwarded });
    sent.end(body);
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const type = response.headers['content-type'] ?? '';
    return { status: response.statusCode ?? 0, type, body: Buffer.concat(chunks) };
  }
}
