/** The health check's own client: it waits for no connection of the pool, and dials when it is first asked. */
import type { MongoClient, MongoClientOptions } from 'mongodb';
import { listenToAbort } from '../../abort.js';
import type { Clock } from '../../clock.js';
import { connect, type Deployment, hello } from './connect.js';
import { mapError } from './errors.js';

export class Probe {
  #client: MongoClient | undefined;
  #running: Promise<Deployment> | undefined;
  #closing = new AbortController();
  readonly #url: string;
  readonly #options: MongoClientOptions;

  constructor(
    url: string,
    options: MongoClientOptions,
    private readonly clock: Clock,
    private readonly component: string,
  ) {
    this.#url = url;
    this.#options = { ...options, maxPoolSize: 1, minPoolSize: 0, serverMonitoringMode: 'poll' };
  }

  /** Asks the server who it is; checks at the same time share one answer. @throws the library's errors */
  ask(limit: number): Promise<Deployment> {
    this.#running ??= this.askOnce(limit).finally(() => (this.#running = undefined));
    return this.#running;
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('The pool is closed'));
    const client = this.#client;
    this.#client = undefined;
    await client?.close().catch(() => undefined);
  }

  private async askOnce(limit: number): Promise<Deployment> {
    const { clock, component } = this;
    const cut = new AbortController();
    const timer = clock.after(limit, () => cut.abort(new Error('The server did not answer')));
    const onClose = (): void => cut.abort(this.#closing.signal.reason);
    const unlisten = listenToAbort(this.#closing.signal, onClose);
    try {
      if (this.#client !== undefined) return await hello(this.#client, clock, cut.signal);
      const { client, deployment } = await connect(this.#url, this.#options, { clock, component, signal: cut.signal });
      if (this.#closing.signal.aborted) await client.close();
      else this.#client = client;
      return deployment;
    } catch (error) {
      throw mapError(error, component, 'check');
    } finally {
      timer.cancel();
      unlisten();
    }
  }
}
