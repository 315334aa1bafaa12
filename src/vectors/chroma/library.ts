/** Loads the package `chromadb`, and makes clients whose requests are sent by us. */
import type { ChromaClient } from 'chromadb';
import { StorageError } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';

const REMEDY = 'run: npm install chromadb@^3.5.0';

export interface ServerChecks {
  readonly maxBatch: number;
  readonly base64: boolean;
}

export interface ClientOptions {
  /** Of the server, without `/api/v2`. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tenant: string;
  readonly database: string;
  /** What the server said about itself; absent: the client asks it before it writes. */
  readonly checks?: ServerChecks;
  readonly transport: typeof fetch;
}

export interface Library {
  /** Without a connection of its own. */
  client(options: ClientOptions): ChromaClient;
}

/** @throws `DEPENDENCY_MISSING` */
export async function loadLibrary(component: string): Promise<Library> {
  const missing = (message: string, cause?: unknown): StorageError =>
    new StorageError('DEPENDENCY_MISSING', `The package chromadb ${message}; ${REMEDY}`, {
      component,
      operation: 'open',
      cause,
    });
  const { ChromaClient } = await import('chromadb').catch((cause: unknown) => {
    throw missing('cannot be loaded', cause);
  });

  class Client extends ChromaClient {
    constructor({ url, headers, tenant, database, checks, transport }: ClientOptions) {
      super({ tenant, database, headers: { ...headers } });
      if (checks !== undefined)
        this.preflightChecks = { max_batch_size: checks.maxBatch, supports_base64_encoding: checks.base64 };
      // No option of the client says how a request is sent, and none a path before `/api/v2`.
      const sender: unknown = Reflect.get(this, 'apiClient');
      if (!isSender(sender)) throw missing('is of a release that is not known here');
      sender.setConfig({ baseUrl: url, fetch: transport });
    }
  }
  return { client: (options) => new Client(options) };
}

interface Sender {
  setConfig(config: { baseUrl: string; fetch: typeof fetch }): unknown;
}

function isSender(value: unknown): value is Sender {
  return isPlainObject(value) && typeof value['setConfig'] === 'function';
}
