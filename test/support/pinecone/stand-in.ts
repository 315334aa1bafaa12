/**
 * A stand-in for the service, on this machine: it keeps what is written, answers as the documentation says, and checks each
 * request and each of its own answers against the service's OpenAPI description. What it was not told it refuses.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ControlPlane, type Reply } from './control-plane.js';
import { DataPlane } from './data-plane.js';
import { Refusal } from './filter.js';
import { OpenApi, type Operation } from './openapi.js';

export interface StandInOptions {
  readonly apiKey: string;
  /** How many reads of a namespace do not see a write yet. */
  lag: number;
  /** Whether answers carry the numbers of the log. */
  marks: boolean;
  /** How often a new index is described before it is ready, and one that is deleted before it is gone. */
  unready: number;
  terminating: number;
  maxIndexes: number;
  deletesByFilter: boolean;
  /** Whether a namespace goes when all of it is deleted, so that the next one of its name counts anew. */
  dropsErased: boolean;
  missingIsUnequal: boolean;
  /** By which its indexes are described. */
  hostName: string;
}

/** What happens to a request instead of an answer. `lost`: it is carried out, its answer never comes. */
export type Fault =
  | { readonly status: number; readonly retryAfter?: string; readonly message?: string }
  | { readonly html: number }
  | { readonly location: string }
  | 'hang'
  | 'reset'
  | 'half'
  | 'lost';

export interface SeenRequest {
  readonly operation: string;
  readonly body: unknown;
  readonly query: URLSearchParams;
  readonly bytes: number;
}

const DEFAULTS: StandInOptions = {
  ...{ apiKey: 'the-key-of-the-stand-in', lag: 0, marks: true, unready: 0, terminating: 0, maxIndexes: 1_000 },
  ...{ deletesByFilter: true, dropsErased: true, missingIsUnequal: false, hostName: '127.0.0.1' },
};
const REQUEST_BYTES = 2 * 1_048_576;
const URL_BYTES = 8_192;
const RPC_CODES: Readonly<Record<number, number>> = { 400: 3, 401: 16, 404: 5, 409: 6, 429: 8 };
const CONTROL_CODES: Readonly<Record<number, string>> = {
  ...{ 400: 'INVALID_ARGUMENT', 401: 'UNAUTHENTICATED', 403: 'FORBIDDEN', 404: 'NOT_FOUND', 409: 'ALREADY_EXISTS' },
  ...{ 429: 'RESOURCE_EXHAUSTED', 503: 'UNAVAILABLE' },
};

const CONTROL = OpenApi.read('db_control_2026-04.oas.yaml');
const DATA = OpenApi.read('db_data_2026-04.oas.yaml');

export class StandIn {
  readonly options: StandInOptions;
  readonly requests: SeenRequest[] = [];
  /** What broke the description, of requests and of answers. A test that ends with one has failed. */
  readonly violations: string[] = [];
  /** Called for each request that hangs, when it has come. */
  onHang: () => void = () => undefined;
  private readonly faults: { operation: string; fault: Fault; times: number }[] = [];
  private readonly control: ControlPlane;

  private constructor(
    private readonly server: Server,
    options: Partial<StandInOptions>,
  ) {
    this.options = { ...DEFAULTS, ...options };
    this.control = new ControlPlane(this.options, (name) => `${this.options.hostName}:${this.port}/index/${name}`);
    server.on('request', (request, response) => void this.serve(request, response));
  }

  static async start(options: Partial<StandInOptions> = {}): Promise<StandIn> {
    const server = createServer();
    const standIn = new StandIn(server, options);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return standIn;
  }

  /** The settings of a provider that is to use it. */
  get settings(): { readonly apiKey: string; readonly controllerHost: string } {
    return { apiKey: this.options.apiKey, controllerHost: `http://127.0.0.1:${this.port}` };
  }

  get indexes(): ControlPlane['indexes'] {
    return this.control.indexes;
  }

  /** The next requests of an operation (`*`: of any) fail, so many times. */
  fail(operation: string, fault: Fault, times = 1): void {
    this.faults.push({ operation, fault, times });
  }

  /** No more faults. */
  recover(): void {
    this.faults.length = 0;
  }

  seen(operation: string): SeenRequest[] {
    return this.requests.filter((request) => request.operation === operation);
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = await readBody(request);
    const { pathname, searchParams: query } = new URL(request.url ?? '', 'http://stand-in');
    const [, indexName, rest] = /^\/index\/([^/]+)(\/.*)$/.exec(pathname) ?? [];
    const api = indexName === undefined ? CONTROL : DATA;
    const operation = api.find(request.method ?? '', rest ?? pathname);
    if (operation === undefined) {
      this.violations.push(`There is no ${request.method} ${pathname}`);
      return void send(response, { status: 404, body: {} });
    }
    const bytes = Buffer.byteLength(text);
    const body: unknown = text === '' ? undefined : JSON.parse(text);
    this.requests.push({ operation: operation.id, body, query, bytes });
    const fault = this.takeFault(operation.id);
    if (fault === 'hang') return this.onHang();
    if (fault !== undefined && fault !== 'lost') return breakOff(response, fault, refusal(api, fault));
    const given = { headers: request.headers, query, body };
    const reply = this.answer(api, operation, indexName, given, bytes, Buffer.byteLength(request.url ?? ''));
    const found = api.checkResponse(operation, reply.status, reply.body);
    this.violations.push(...found);
    if (fault === 'lost') return void response.destroy();
    send(response, found.length === 0 ? reply : { status: 500, body: { message: found.join('; ') } });
  }

  private answer(
    api: OpenApi,
    operation: Operation,
    indexName: string | undefined,
    request: { headers: IncomingMessage['headers']; query: URLSearchParams; body: unknown },
    bytes: number,
    urlBytes: number,
  ): Reply {
    try {
      if (request.headers['api-key'] !== this.options.apiKey) throw new Refusal(401, 'Invalid API key.');
      const faults = api.checkRequest(operation, request);
      if (request.headers['x-pinecone-api-version'] !== '2026-04') faults.push('another version of the interface');
      this.violations.push(...faults.map((fault) => `${operation.id}: ${fault}`));
      if (faults.length > 0) throw new Refusal(400, faults.join('; '));
      if (bytes > REQUEST_BYTES)
        throw new Refusal(
          400,
          `Error, message length too large: found ${bytes} bytes, the limit is: ${REQUEST_BYTES} bytes`,
        );
      if (urlBytes > URL_BYTES) throw new Refusal(414, 'URI Too Long');
      if (indexName === undefined) return this.control.handle(operation.id, operation.path, request.body);
      const index = this.control.indexes.get(indexName);
      if (index === undefined || index.terminating !== undefined) throw new Refusal(404, 'Index not found');
      if (index.unready > 0) throw new Refusal(503, 'The index is not ready');
      return new DataPlane(this.options, index).handle(operation.id, operation.path, request.query, request.body ?? {});
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return { status: error.status, body: errorBody(api, error.status, error.message) };
    }
  }

  private takeFault(operation: string): Fault | undefined {
    const found = this.faults.find((fault) => fault.operation === '*' || fault.operation === operation);
    if (found === undefined) return undefined;
    if (--found.times === 0) this.faults.splice(this.faults.indexOf(found), 1);
    return found.fault;
  }
}

function errorBody(api: OpenApi, status: number, message: string): object {
  if (api === CONTROL) return { status, error: { code: CONTROL_CODES[status] ?? 'UNKNOWN', message } };
  return { code: RPC_CODES[status] ?? 13, message, details: [] };
}

function refusal(api: OpenApi, fault: Fault): Reply {
  if (typeof fault !== 'object' || !('status' in fault)) return { status: 500 };
  const { status, retryAfter, message = 'The stand-in was told to fail' } = fault;
  return {
    status,
    body: errorBody(api, status, message),
    headers: retryAfter === undefined ? {} : { 'retry-after': retryAfter },
  };
}

function breakOff(response: ServerResponse, fault: Exclude<Fault, 'hang' | 'lost'>, refused: Reply): void {
  if (fault === 'reset') return void response.socket?.resetAndDestroy();
  if (fault === 'half') {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
    response.write('{"matches":[{"id"');
    // A turn later, so that what was written is on its way.
    return void setImmediate(() => response.socket?.destroy());
  }
  if ('html' in fault) {
    response.writeHead(fault.html, { 'content-type': 'text/html' });
    return void response.end('<html><body>A gateway speaks</body></html>');
  }
  if ('location' in fault) return void response.writeHead(307, { location: fault.location }).end();
  send(response, refused);
}

function send(response: ServerResponse, { status, body, headers = {} }: Reply): void {
  const type = body === undefined ? {} : { 'content-type': 'application/json' };
  response.writeHead(status, { ...type, ...headers });
  response.end(body === undefined ? undefined : JSON.stringify(body));
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
