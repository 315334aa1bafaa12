/** The pool over one MongoClient: turns, deadlines, transactions, health. */
import { sleep, type Clock, timerDelay } from '../../clock.js';
import type { CheckResult, OpenContext, OperationContext, Session } from '../../component.js';
import { isStorageError, StorageError, ValidationError } from '../../errors.js';
import { clockOffset } from '../clock-offset.js';
import type { Pool, PoolEnvironment, PoolFigures, RawClient, TransactionOptions } from '../pool.js';
import { boundsExceeded, untilAborted, untilBounds } from '../slot.js';
import { commit, rollBack } from './commit.js';
import { clientOptions, connect } from './connect.js';
import { Connections } from './connections.js';
import { isSystemFault, mapError, unsupported } from './errors.js';
import { Gate } from './gate.js';
import { healthOf } from './health.js';
import { Limit } from './limit.js';
import { isIdle, leaveTurn, type Opened, tellIdle } from './opened.js';
import { type MongoUse, OperationUse } from './operation-use.js';
import { Probe } from './probe.js';
import { MongoSession } from './session.js';
import type { MongoOptions } from './settings.js';

/** How long the client itself gets to close its connections. */
const CLOSE_GRACE = 2_000;

const READ_ATTEMPTS = 4;
const READ_PAUSE = 10;

export class MongoPool implements Pool {
  readonly name: string;
  readonly clock: Clock;
  // Private in earnest: what inspects or serialises a pool must not meet the password.
  readonly #options: MongoOptions;
  #opened: Opened | undefined;
  #opening: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  #clockOffset: number | undefined;
  readonly #owners = new WeakMap<MongoSession, Opened>();
  /** MongoDB forbids two operations of a transaction at once. */
  private generation = 0;

  constructor(options: MongoOptions, environment: PoolEnvironment) {
    this.#options = options;
    this.name = environment.name;
    this.clock = environment.clock;
  }

  get raw(): RawClient {
    return { language: 'mongo', client: () => this.require('mongo').client };
  }

  get clockOffset(): number {
    return this.#clockOffset ?? 0;
  }

  /** Until it is open what most servers have: whoever asks for it is refused as the pool is not open. */
  get transactions(): 'snapshot' | 'none' {
    return this.#opened?.deployment.transactions ?? 'snapshot';
  }

  open(context: OpenContext): Promise<void> {
    if (this.#opened !== undefined) return Promise.resolve();
    this.#opening ??= this.start(context, this.generation).finally(() => (this.#opening = undefined));
    return this.#opening;
  }

  /** Runs `work` on one turn, in the context's session when it has one. What it throws becomes the library's error. */
  async run<R>(operation: string, context: OperationContext, work: (use: MongoUse) => Promise<R>): Promise<R> {
    if (context.session !== undefined) return this.inSession(context.session, operation, context, work);
    return this.alone(operation, context, work);
  }

  /**
   * As `run`, for work that changes nothing: it is run again on another connection when the one it had was dead. The
   * client does that itself, unless the connection dies while a command is being written to it.
   */
  read<R>(operation: string, context: OperationContext, work: (use: MongoUse) => Promise<R>): Promise<R> {
    return this.run(operation, context, async (use) => {
      for (let attempt = 1; ; attempt++) {
        try {
          return await work(use);
        } catch (error) {
          const isLast = attempt === READ_ATTEMPTS || context.session !== undefined;
          if (isLast || !isSystemFault(error)) throw error;
          await sleep(this.clock, attempt * READ_PAUSE, use.callBounds().signal);
        }
      }
    });
  }

  /** As `run`, for writes: outside of transactions one whose answer was lost may have been made. */
  write<R>(operation: string, context: OperationContext, work: (use: MongoUse) => Promise<R>): Promise<R> {
    if (context.session !== undefined) return this.run(operation, context, work);
    return this.alone(operation, context, (use) => use.writing(work, { component: this.name, operation }));
  }

  async transaction<R>({ context }: TransactionOptions, work: (session: Session) => Promise<R>): Promise<R> {
    const opened = this.require('transaction');
    if (opened.deployment.transactions === 'none')
      throw unsupported('The server has no transactions: it is neither a replica set nor a sharded cluster', this.name);
    const { clock } = this;
    const over = boundsExceeded(context, clock.monotonic(), this.name);
    if (over !== undefined) throw over;
    const session = new MongoSession(this, opened.client, context, clock);
    const { client } = session;
    opened.sessions.add(session);
    this.#owners.set(session, opened);
    try {
      client.startTransaction({
        readConcern: { level: 'snapshot' },
        writeConcern: { w: 'majority' },
        readPreference: 'primary',
        maxCommitTimeMS: Math.max(1, Math.ceil(timerDelay(context.deadline - clock.monotonic()))),
      });
      const result = await session.run(work);
      await session.turns.idle();
      const refusal = session.refusal();
      session.end();
      if (refusal !== undefined) throw refusal;
      await commit(session, opened, context);
      void client.endSession().catch(() => undefined);
      return result;
    } catch (error) {
      session.end();
      await rollBack(session, context);
      throw error;
    } finally {
      opened.sessions.delete(session);
      tellIdle(opened);
    }
  }

  async savepoint(): Promise<never> {
    throw unsupported('MongoDB has no savepoints: no part of a transaction is undone by itself', this.name);
  }

  figures(): PoolFigures {
    const { max } = this.#options.pool;
    const opened = this.#opened;
    if (opened === undefined) return { size: 0, idle: 0, waiting: 0, max };
    const { connections, gate } = opened;
    const { size } = connections;
    return { size, idle: Math.max(0, size - gate.taken), waiting: gate.waiting, max };
  }

  async check(signal: AbortSignal): Promise<CheckResult> {
    const opened = this.#opened;
    if (opened === undefined) return { status: 'unhealthy', message: 'The database is not open' };
    try {
      const deployment = await untilAborted(opened.probe.ask(this.#options.pool.connectTimeout), signal);
      const { clock } = deployment;
      if (clock !== undefined) this.#clockOffset = clockOffset(clock, this.#clockOffset);
      return healthOf(deployment, this.figures(), this.#clockOffset);
    } catch (error) {
      const message = isStorageError(error) ? error.message : 'The server did not answer in time';
      return { status: 'unhealthy', message, details: { ...this.figures() } };
    }
  }

  close(deadline: number): Promise<void> {
    this.generation++;
    this.#closing ??= this.stop(deadline).finally(() => (this.#closing = undefined));
    return this.#closing;
  }

  /** @param generation of the moment `open` was called: a later `close` wins. */
  private async start({ signal }: OpenContext, generation: number): Promise<void> {
    await this.#closing;
    const { clock, name: component } = this;
    const { url, database, pool } = this.#options;
    const options = clientOptions(this.#options);
    const connections = new Connections();
    const { client, library, deployment } = await connect(url, options, { clock, signal, component }, (made) =>
      connections.watch(made),
    );
    if (generation !== this.generation) {
      await client.close().catch(() => undefined);
      throw this.closedError('open');
    }
    // A server that is no member of a set knows no majority to read from.
    const level = deployment.transactions === 'snapshot' ? 'majority' : 'local';
    this.#clockOffset = deployment.clock && clockOffset(deployment.clock);
    this.#opened = {
      library,
      client,
      db: client.db(database, { readConcern: { level, toJSON: () => ({ level }) } }),
      readLevel: level,
      deployment,
      gate: new Gate({ clock, component, max: pool.max, acquireTimeout: pool.acquireTimeout }),
      connections,
      probe: new Probe(url, options, clock, component),
      collections: new Map(),
      limits: new Set(),
      spareSignals: [],
      sessions: new Set(),
      onIdle: undefined,
    };
  }

  private async stop(deadline: number): Promise<void> {
    const opening = this.#opening;
    // An opening that is still under way sees the new generation, and closes what it opened.
    if (opening !== undefined) {
      const settled = opening.catch(() => undefined);
      await untilBounds(settled, { deadline }, this.clock);
    }
    const opened = this.#opened;
    if (opened === undefined) return;
    this.#opened = undefined;
    const reason = this.closedError();
    opened.gate.close(reason);
    if (!isIdle(opened)) {
      const idle = new Promise<void>((resolve) => (opened.onIdle = resolve));
      await untilBounds(idle, { deadline }, this.clock);
    }
    for (const session of opened.sessions) session.cut(reason);
    for (const limit of opened.limits) limit.cut(reason);
    const closed = Promise.all([opened.probe.close(), opened.client.close().catch(() => undefined)]);
    await untilBounds(closed, { deadline: this.clock.monotonic() + CLOSE_GRACE }, this.clock);
  }

  /** Outside of transactions. */
  private async alone<R>(
    operation: string,
    context: OperationContext,
    work: (use: OperationUse) => Promise<R>,
  ): Promise<R> {
    const opened = this.require(operation);
    const turn = opened.gate.acquire(context);
    if (turn !== undefined) await turn;
    return this.onTurn(opened, operation, context, undefined, work);
  }

  private inSession<R>(
    session: Session,
    operation: string,
    context: OperationContext,
    work: (use: MongoUse) => Promise<R>,
  ): Promise<R> {
    if (!(session instanceof MongoSession) || session.pool !== this)
      throw new ValidationError('VALIDATION', 'The session belongs to another database', {
        component: this.name,
        operation,
      });
    return session.inTurn(context, async () => {
      const refusal = session.refusal(context);
      if (refusal !== undefined) throw refusal;
      const opened = this.#owners.get(session)!;
      const turn = opened.gate.acquire(context, true);
      if (turn !== undefined) await turn;
      context.onStatement?.();
      try {
        return await this.onTurn(opened, operation, context, session, work);
      } catch (error) {
        // The server has ended the transaction with its first error.
        session.failure ??= error as StorageError;
        throw session.failure;
      }
    });
  }

  private async onTurn<R>(
    opened: Opened,
    operation: string,
    context: OperationContext,
    session: MongoSession | undefined,
    work: (use: OperationUse) => Promise<R>,
  ): Promise<R> {
    const limit = new Limit(context, this.clock, this.name, opened.spareSignals);
    opened.limits.add(limit);
    try {
      const working = work(new OperationUse(opened, limit, session));
      session?.track(working);
      // Work that is cut keeps its turn until the client is done with it: it still has the connection.
      return await limit.race(working, () => leaveTurn(opened));
    } catch (error) {
      throw mapError(error, this.name, operation);
    } finally {
      limit.end();
      opened.limits.delete(limit);
    }
  }

  private require(operation: string): Opened {
    if (this.#opened === undefined) throw this.closedError(operation);
    return this.#opened;
  }

  private closedError(operation?: string): StorageError {
    return new StorageError('CLOSED', 'The database is closed', { component: this.name, operation });
  }
}
