/** The service: what every call to it runs through, its opening, its health. */
import type { Index, Pinecone } from '@pinecone-database/pinecone';
import { type Clock, sleep } from '../../clock.js';
import type { CheckResult, OpenContext } from '../../component.js';
import { isStorageError, StorageError, TimeoutError } from '../../errors.js';
import type { ProviderEnvironment } from '../provider.js';
import { callRemote, type RemoteAttempt, type RemotePolicy } from '../remote/call.js';
import { Limiter, type Bounds } from '../remote/limiter.js';
import { classify } from './fault.js';
import { loadLibrary, type Library } from './library.js';
import { isNear, type PineconeOptions } from './settings.js';
import { makeTransport, type Marks } from './transport.js';

/** The version of the service's interface that the client speaks, for the one call that it cannot make. */
const API_VERSION = '2026-04';

const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 2_000;

export interface Answer<R> extends Readonly<Marks> {
  readonly value: R;
}

export class Connection {
  private readonly limiter: Limiter;
  private library: Library | undefined;
  /** Not shown by `util.inspect`, unlike a property: they hold the key. */
  readonly #options: PineconeOptions;

  constructor(
    options: PineconeOptions,
    private readonly environment: ProviderEnvironment,
  ) {
    const { clock, name: component } = environment;
    this.#options = options;
    this.limiter = new Limiter({ clock, component, max: options.maxConcurrency });
  }

  get component(): string {
    return this.environment.name;
  }

  get clock(): Clock {
    return this.environment.clock;
  }

  /** Where new indexes are made. */
  get place(): { readonly cloud: string; readonly region: string } {
    const { cloud, region } = this.#options;
    return { cloud, region };
  }

  /** @throws `DEPENDENCY_MISSING`, `UNAUTHORIZED`, `UNAVAILABLE`. */
  async open({ signal }: OpenContext): Promise<void> {
    this.library ??= await loadLibrary(this.component);
    const bounds = { signal, deadline: this.environment.clock.monotonic() + this.#options.requestTimeout };
    await this.call(bounds, 'open', (client) => client.listIndexes());
  }

  /** Needs no turn: requests that take long are no sign of a service that is ill. */
  async check(signal: AbortSignal): Promise<CheckResult> {
    const details = this.limiter.figures();
    if (this.library === undefined) return { status: 'unknown', message: 'The provider is not open' };
    try {
      await this.client(this.library, signal, {}).listIndexes();
      return { status: 'healthy', details };
    } catch (error) {
      return { status: 'unhealthy', message: classify(error, this.component, 'check').error.message, details };
    }
  }

  close(deadline: number): Promise<void> {
    return this.limiter.close(deadline);
  }

  /**
   * Makes a call with a client of its own for each attempt.
   * @param once milliseconds of the one attempt that it is worth; absent: as the settings say.
   * @throws as `callRemote`
   */
  call<R>(
    bounds: Bounds,
    operation: string,
    work: (client: Pinecone, attempt: RemoteAttempt) => Promise<R>,
    once?: number,
  ): Promise<R> {
    const { library } = this;
    if (library === undefined) throw this.notOpen(operation);
    return callRemote(bounds, this.policy(operation, once), (attempt) =>
      work(this.client(library, attempt.signal, {}), attempt),
    );
  }

  /** Makes a call to an index. */
  data<R>(
    bounds: Bounds,
    operation: string,
    host: string,
    work: (index: Index, attempt: RemoteAttempt) => Promise<R>,
  ): Promise<Answer<R>> {
    const { library } = this;
    if (library === undefined) throw this.notOpen(operation);
    return callRemote(bounds, this.policy(operation), async (attempt) => {
      const marks: Marks = {};
      const index = this.client(library, attempt.signal, marks).index({ host: this.urlOf(host) });
      const value = await work(index, attempt);
      return { value, ...marks };
    });
  }

  /** Makes a call to an index that the client cannot make. */
  post(bounds: Bounds, operation: string, host: string, path: string, body: object): Promise<unknown> {
    return callRemote(bounds, this.policy(operation), async ({ signal }) => {
      const response = await this.transport(signal, {})(`${this.urlOf(host)}${path}`, {
        method: 'POST',
        headers: {
          'Api-Key': this.#options.apiKey,
          'Content-Type': 'application/json',
          'X-Pinecone-Api-Version': API_VERSION,
        },
        body: JSON.stringify(body),
      });
      return response.json();
    });
  }

  /**
   * Asks until there is an answer, with longer and longer pauses.
   * @throws `TIMEOUT` with this message when there was none in time; `ABORTED`.
   */
  async until<R>(
    { signal, deadline }: Bounds,
    operation: string,
    message: string,
    ask: () => Promise<R | undefined>,
  ): Promise<R> {
    const { clock } = this.environment;
    const late = (cause?: unknown): TimeoutError =>
      new TimeoutError(message, { component: this.component, operation, cause });
    for (let round = 0; ; round++) {
      const answer = await ask().catch((error: unknown) => {
        throw round > 0 && isStorageError(error, 'TIMEOUT') ? late(error) : error;
      });
      if (answer !== undefined) return answer;
      const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** round);
      if (clock.monotonic() + pause >= deadline) throw late();
      await sleep(clock, pause, signal);
    }
  }

  /** The hosts that the service names come without a scheme. In clear only to what is near, which has no certificate. */
  private urlOf(host: string): string {
    const { protocol } = new URL(this.#options.controllerHost);
    const [, scheme = protocol, address = host] = /^(?:(https?:)\/\/)?(.*)$/.exec(host) ?? [];
    const url = `${scheme}//${address}`;
    return URL.canParse(url) && isNear(new URL(url)) ? url : `https://${address}`;
  }

  private client(library: Library, signal: AbortSignal, marks: Marks): Pinecone {
    const { apiKey, controllerHost: controllerHostUrl } = this.#options;
    return library.client({ apiKey, controllerHostUrl, fetchApi: this.transport(signal, marks), maxRetries: 0 });
  }

  private transport(signal: AbortSignal, marks: Marks): typeof fetch {
    return makeTransport(signal, () => this.environment.clock.now(), this.#options.apiKey, marks);
  }

  private policy(operation: string, once?: number): RemotePolicy {
    const { clock, name: component } = this.environment;
    const { requestTimeout, retry } = this.#options;
    return {
      clock,
      component,
      limiter: this.limiter,
      attemptTimeout: Math.min(requestTimeout, once ?? requestTimeout),
      retry: once === undefined ? retry : { ...retry, attempts: 1 },
      classify: (error) => classify(error, component, operation),
    };
  }

  private notOpen(operation: string): StorageError {
    return new StorageError('CLOSED', 'The provider is not open', { component: this.component, operation });
  }
}
