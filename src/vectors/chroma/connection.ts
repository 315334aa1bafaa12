/** The server: what every call to it runs through, its opening, its health. */
import type { ChromaClient } from 'chromadb';
import type { CheckResult, OpenContext } from '../../component.js';
import { isStorageError, StorageError, UnsupportedError } from '../../errors.js';
import { VECTOR_LIMITS as LIMITS } from '../codec/limits.js';
import type { ProviderEnvironment } from '../provider.js';
import { callRemote, type RemoteAttempt, type RemoteFailure, type RemotePolicy } from '../remote/call.js';
import { Limiter, type Bounds } from '../remote/limiter.js';
import { ChromaFault, classify } from './fault.js';
import { loadLibrary, type Library, type ServerChecks } from './library.js';
import type { ChromaOptions } from './settings.js';
import { makeTransport } from './transport.js';

const PAGE = 1_000;

/** Lists in metadata came with 1.5.0, deletions of so many records, which tell their number, with 1.5.3. */
const MIN_VERSION = '1.5.3';

/** A collection that no server has, and a deletion from it that one of this age cannot read. */
const PROBE = '/collections/00000000-0000-0000-0000-000000000000/delete';
const UNREADABLE = JSON.stringify({ ids: ['none'], limit: 'none' });

/** What may be said of a server that was never reached. */
const UNKNOWN: ServerChecks = { maxBatch: LIMITS.batchItems, base64: false };

/** A client, and the signal of the attempt that has it. */
interface SignalledClient {
  readonly client: ChromaClient;
  signal: AbortSignal | undefined;
}

export class Connection {
  private readonly limiter: Limiter;
  private library: Library | undefined;
  private checks: ServerChecks = UNKNOWN;
  /** To make one takes as long as a good part of a request. */
  private free: SignalledClient[] = [];

  constructor(
    private readonly options: ChromaOptions,
    private readonly environment: ProviderEnvironment,
  ) {
    const { clock, name: component } = environment;
    this.limiter = new Limiter({ clock, component, max: options.maxConcurrency });
  }

  /** Records that one request may write. */
  get maxBatch(): number {
    return this.checks.maxBatch;
  }

  /**
   * @throws `DEPENDENCY_MISSING`; `CONFIGURATION` where the server has no such database; `UNSUPPORTED` for one that is too
   * old; `UNAVAILABLE`, `UNAUTHORIZED`.
   */
  async open({ signal }: OpenContext): Promise<void> {
    this.library ??= await loadLibrary(this.environment.name);
    const bounds = { signal, deadline: this.environment.clock.monotonic() + this.options.requestTimeout };
    await this.checkDatabase(bounds);
    await this.checkAge(bounds);
    this.checks = await this.call(bounds, 'open', async (client) => {
      const { max_batch_size: most = 0, supports_base64_encoding: base64 } = await client.getPreflightChecks();
      return { maxBatch: most > 0 ? Math.min(most, LIMITS.batchItems) : LIMITS.batchItems, base64: base64 === true };
    });
    // Those that were made before did not know them.
    this.free = [];
  }

  /** Needs no turn: requests that take long are no sign of a server that is ill. */
  async check(signal: AbortSignal): Promise<CheckResult> {
    const details = this.limiter.figures();
    if (this.library === undefined) return { status: 'unknown', message: 'The provider is not open' };
    try {
      const own = this.client(this.library);
      own.signal = signal;
      await own.client.heartbeat();
      return { status: 'healthy', details };
    } catch (error) {
      return { status: 'unhealthy', message: this.classify(error, 'check').error.message, details };
    }
  }

  close(deadline: number): Promise<void> {
    return this.limiter.close(deadline);
  }

  /** Makes a call: each attempt has a client to itself. @throws as `callRemote` */
  call<R>(
    bounds: Bounds,
    operation: string,
    work: (client: ChromaClient, attempt: RemoteAttempt) => Promise<R>,
  ): Promise<R> {
    const { library } = this;
    const { name: component } = this.environment;
    if (library === undefined) throw new StorageError('CLOSED', 'The provider is not open', { component, operation });
    return callRemote(bounds, this.policy(operation), async (attempt) => {
      const free = this.free.pop() ?? this.client(library);
      free.signal = attempt.signal;
      const result = await work(free.client, attempt);
      this.free.push(free);
      return result;
    });
  }

  /**
   * The names of all collections that begin with `prefix`. Not by the client: to list collections it imports a package
   * for the embedding function of each, by the name that the server gives.
   */
  async names(bounds: Bounds, operation: string, prefix: string): Promise<string[]> {
    const found: string[] = [];
    for (let offset = 0; ; offset += PAGE) {
      const page = await this.read(bounds, operation, `/collections?limit=${PAGE}&offset=${offset}`);
      const names = readNames(page);
      found.push(...names.filter((name) => name.startsWith(prefix)));
      if (names.length < PAGE) return found;
    }
  }

  /** The server answers for a database that it does not have as for an empty one. */
  private async checkDatabase(bounds: Bounds): Promise<void> {
    try {
      await this.read(bounds, 'open', '');
    } catch (error) {
      if (!isStorageError(error, 'NOT_FOUND')) throw error;
      const { serverTenant, serverDatabase } = this.options;
      throw new StorageError(
        'CONFIGURATION',
        `The Chroma server has no database ${JSON.stringify(serverDatabase)} in its tenant ${JSON.stringify(serverTenant)}: create it, or name another (vectors.chroma.serverDatabase)`,
        {
          component: this.environment.name,
          operation: 'open',
          details: { serverTenant, serverDatabase },
          cause: error,
        },
      );
    }
  }

  /** Every server says that its version is 1.0.0. One that does not know a limit does not look at it. */
  private async checkAge(bounds: Bounds): Promise<void> {
    try {
      await this.read(bounds, 'open', PROBE, { method: 'POST', body: UNREADABLE });
    } catch (error) {
      if (isStorageError(error, 'VALIDATION')) return;
      if (!isStorageError(error, 'NOT_FOUND')) throw error;
    }
    throw new UnsupportedError(`The Chroma server is too old: ${MIN_VERSION} or later is needed`, {
      component: this.environment.name,
      operation: 'open',
      details: { needed: MIN_VERSION },
    });
  }

  private read(bounds: Bounds, operation: string, path: string, init: RequestInit = {}): Promise<unknown> {
    const { url, headers, serverTenant, serverDatabase } = this.options;
    const database = `/tenants/${encodeURIComponent(serverTenant)}/databases/${encodeURIComponent(serverDatabase)}`;
    return callRemote(bounds, this.policy(operation), async ({ signal }) => {
      const response = await this.transport(() => signal)(`${url}/api/v2${database}${path}`, {
        ...init,
        headers: { ...headers, 'content-type': 'application/json' },
      });
      return response.json();
    });
  }

  private client(library: Library): SignalledClient {
    const { url, headers, serverTenant: tenant, serverDatabase: database } = this.options;
    const { checks } = this;
    const client = library.client({
      ...{ url, headers, tenant, database, transport: this.transport(() => made.signal) },
      ...(checks === UNKNOWN ? {} : { checks }),
    });
    const made: SignalledClient = { client, signal: undefined };
    return made;
  }

  private transport(signal: () => AbortSignal | undefined): typeof fetch {
    return makeTransport(signal, () => this.environment.clock.now(), this.options.token);
  }

  private policy(operation: string): RemotePolicy {
    const { clock, name: component } = this.environment;
    return {
      clock,
      component,
      limiter: this.limiter,
      attemptTimeout: this.options.requestTimeout,
      retry: this.options.retry,
      classify: (error) => this.classify(error, operation),
    };
  }

  private classify(error: unknown, operation: string): RemoteFailure {
    return classify(error, this.environment.name, operation, this.options.server);
  }
}

function readNames(page: unknown): string[] {
  const names = Array.isArray(page) ? page.map((entry: { name?: unknown } | null) => entry?.name) : [undefined];
  if (names.every((name) => typeof name === 'string')) return names;
  throw new ChromaFault(undefined, undefined, 'its list of collections is none');
}
