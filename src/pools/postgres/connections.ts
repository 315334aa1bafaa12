/** The connections of a pool: who gets one, in which order, and when one is opened, tried or given up. */
import { type Clock, timerDelay } from '../../clock.js';
import { type StorageError, TimeoutError, UnavailableError } from '../../errors.js';
import type { PoolFigures } from '../pool.js';
import { boundsExceeded } from '../slot.js';
import type { Connection, ConnectionHost } from './connection.js';
import type { Connector } from './connect.js';
import { Deadlines } from './deadlines.js';
import { type Leak, leaksOf } from './leak.js';
import type { Client } from './library.js';
import { Openings } from './openings.js';
import type { PostgresOptions } from './settings.js';
import { MOST, Sharing } from './sharing.js';
import { Statement } from './statement.js';
import { type Tried, Trials } from './trials.js';
import { type Kept, Upkeep } from './upkeep.js';
import { type Bounds, exhaustedError, lateError, WaitQueue } from './wait-queue.js';

/** How long undoing what a connection was left in may take. */
const UNDO = 5_000;

export class Connections implements ConnectionHost, Kept, Tried {
  private readonly all = new Set<Connection>();
  /** The last one used is the next. */
  readonly idle: Connection[] = [];
  private readonly sharing = new Sharing();
  private readonly waiters: WaitQueue;
  private readonly goodbyes = new Set<Promise<void>>();
  private readonly deadlines: Deadlines;
  readonly openings: Openings;
  private readonly options: PostgresOptions['pool'];
  private readonly rollBack: string;
  private readonly upkeep: Upkeep;
  private readonly trials = new Trials(this);
  /** Connections that have ended here, whose statement the server has yet to hear of being stopped. */
  private cancelling = 0;
  private closed: StorageError | undefined;
  private onEmpty: (() => void) | undefined;

  constructor(
    private readonly connector: Connector,
    options: PostgresOptions,
    readonly clock: Clock,
    readonly component: string,
  ) {
    this.options = options.pool;
    // A limit that was set in the transaction is undone with it, so that none is known. A pooler's session is not ours.
    this.rollBack = options.pooler === 'transaction' ? 'ROLLBACK' : 'ROLLBACK; RESET statement_timeout';
    this.openings = new Openings(connector, options, this);
    this.deadlines = new Deadlines(clock, this.all);
    this.waiters = new WaitQueue(clock);
    this.upkeep = new Upkeep(clock, options.pool, this);
  }

  figures(): PoolFigures {
    const { all, idle, waiters, options } = this;
    return { size: all.size, idle: idle.length, waiting: waiters.size, max: options.max };
  }

  /** Opens connections until there are `count`. @throws what the first failure says. */
  async warm(count: number, signal: AbortSignal): Promise<void> {
    const missing = Math.min(count - this.all.size - this.openings.size, this.room);
    if (missing <= 0) return;
    await Promise.all(Array.from({ length: missing }, async () => this.giveOut(await this.openOne(signal))));
  }

  /** A connection that is free and can be trusted. */
  tryTake(now: number): Connection | undefined {
    const connection = this.idle.at(-1);
    if (connection === undefined || !this.trials.isTrusted(connection, now)) return undefined;
    this.idle.pop();
    return this.taken(connection, now);
  }

  /**
   * A connection, first come, first served. Who has it gives it back by `release`, once.
   * @throws `CLOSED`, `ABORTED`, `TIMEOUT` (the deadline), `UNAVAILABLE` (`acquireTimeout`, with the figures; no connection
   * could be opened), `UNAUTHORIZED`, `CONFIGURATION`.
   */
  async acquire(bounds: Bounds, shares = false): Promise<Connection> {
    const since = this.clock.monotonic();
    const stack = this.stack();
    for (;;) {
      if (this.closed !== undefined) throw this.closed;
      const now = this.clock.monotonic();
      const over = boundsExceeded(bounds, now, this.component);
      if (over !== undefined) throw over;
      const found = this.idle.pop();
      const connection = found === undefined ? await this.wait(bounds, since, shares) : this.taken(found, now);
      connection.takenBy = stack;
      if (found === undefined || this.trials.isTrusted(found, now) || (await this.trials.pass(found, bounds)))
        return connection;
    }
  }

  /** At once where it can be, else as `acquire`. */
  async take(bounds: Bounds): Promise<Connection> {
    const now = this.clock.monotonic();
    const over = boundsExceeded(bounds, now, this.component);
    if (over !== undefined) throw over;
    return this.tryTake(now) ?? this.acquire(bounds);
  }

  /**
   * A connection for a statement that stands for itself and may share it with others of its kind: a free one or a new one,
   * and one that others share only when there can be no more. Who waits for a whole one comes first.
   */
  async takeShared(bounds: Bounds): Promise<Connection> {
    const now = this.clock.monotonic();
    const over = boundsExceeded(bounds, now, this.component);
    if (over !== undefined) throw over;
    const free = this.tryTake(now);
    const full = this.room <= 0;
    const joined = free === undefined && full && this.waiters.size === 0 ? this.sharing.join(now) : undefined;
    if (joined !== undefined) return this.taken(joined, now);
    const connection = free ?? (await this.acquire(bounds, true));
    this.sharing.offer(connection);
    return connection;
  }

  /** Gives a connection back: to who waits, to the idle ones, or away, when it is old or cannot be made clean. */
  release(connection: Connection): void {
    if (!this.sharing.leave(connection) || connection.endedBy !== undefined) return;
    connection.holder = undefined;
    if (connection.busy) return connection.destroy(this.lostError('was given back while a statement ran'));
    if (connection.status !== 'I') return void this.clean(connection, this.rollBack, this.openings.statementTimeout);
    this.giveOut(connection);
  }

  /**
   * Runs a script that takes away what the holder left behind, then gives the connection back. Never rejects.
   * @param limit the server's limit for a statement that the script leaves
   */
  async clean(connection: Connection, script: string, limit = connection.statementTimeout): Promise<void> {
    if (connection.endedBy !== undefined) return;
    connection.holder = undefined;
    const statement = new Statement(script);
    statement.deadline = this.clock.monotonic() + UNDO;
    try {
      if (connection.busy) throw this.lostError('was given back while a statement ran');
      await connection.run(statement);
    } catch {
      connection.destroy(this.lostError('could not be made clean'));
    }
    if (connection.endedBy !== undefined) return;
    connection.statementTimeout = limit;
    if (connection.status === 'I') this.giveOut(connection);
    else connection.destroy(this.lostError('could not be made clean'));
  }

  /** The server is another than it was: no connection is used again. */
  evictAll(): void {
    for (const connection of this.all) connection.obsolete = true;
    for (const connection of [...this.idle]) this.retire(connection);
  }

  /** Connections held longer than `leakTimeout`. */
  leaks(): Leak[] {
    const { leakTimeout } = this.options;
    return leakTimeout === null ? [] : leaksOf(this.all, this.clock.monotonic(), leakTimeout);
  }

  /** Refuses and rejects with `reason`, waits until `deadline` for those in use, then destroys them. Never rejects. */
  async close(deadline: number, reason: StorageError): Promise<void> {
    this.closed = reason;
    this.upkeep.stop();
    this.waiters.refuseAll(reason);
    this.openings.abort(reason);
    for (const connection of [...this.idle]) this.retire(connection);
    await this.empty(deadline);
    for (const connection of [...this.all]) {
      connection.holder?.connectionEnded(reason);
      connection.destroy(reason);
    }
    await Promise.all(this.goodbyes);
    this.deadlines.stop();
  }

  size(): number {
    return this.all.size;
  }

  retire(connection: Connection): void {
    connection.close(this.lostError('was closed'));
  }

  giveUp(connection: Connection): void {
    connection.destroy(this.lostError('does not answer'));
  }

  fill(count: number): void {
    if (this.openings.size > 0) return;
    for (let missing = Math.min(count - this.all.size, this.room); missing > 0; missing--) this.openForAny();
  }

  bound(deadline: number): void {
    this.deadlines.add(deadline);
  }

  cancel(client: Client): Promise<void> {
    this.cancelling++;
    return this.connector.cancel(client).finally(() => {
      this.cancelling--;
      this.grow();
    });
  }

  ended(connection: Connection): void {
    if (!this.all.delete(connection)) return;
    const place = this.idle.indexOf(connection);
    if (place >= 0) this.idle.splice(place, 1);
    if (connection.endedBy instanceof TimeoutError) this.trials.distrust();
    const goodbye = connection.closed.finally(() => this.goodbyes.delete(goodbye));
    this.goodbyes.add(goodbye);
    if (this.all.size === 0) this.onEmpty?.();
    this.grow();
  }

  private taken(connection: Connection, now: number): Connection {
    connection.takenAt = now;
    connection.takenBy = this.stack();
    return connection;
  }

  private stack(): string | undefined {
    return this.options.leakTimeout === null ? undefined : new Error('Taken').stack;
  }

  private wait(bounds: Bounds, since: number, shares: boolean): Promise<Connection> {
    const { acquireTimeout } = this.options;
    const waiting = this.waiters.wait(bounds, shares, since + acquireTimeout, (atDeadline) =>
      atDeadline
        ? lateError(this.figures(), this.component)
        : exhaustedError(this.figures(), this.clock.monotonic() - since, acquireTimeout, this.component),
    );
    this.grow();
    return waiting;
  }

  /** How many more may be opened: the server keeps to the limit too. */
  private get room(): number {
    return this.options.max - this.all.size - this.openings.size - this.cancelling;
  }

  /** Opens what the waiters need and the limit allows. */
  private grow(): void {
    while (this.closed === undefined && this.openings.size < this.waiters.size && this.room > 0) this.openForAny();
  }

  /** Who waits gets what comes of it: the connection, or what went wrong. */
  private openForAny(): void {
    const began = this.clock.monotonic();
    void this.openOne().then(
      (connection) => this.giveOut(connection),
      (error: StorageError) => {
        this.waiters.refuseFirst(error, began);
        this.grow();
      },
    );
  }

  private async openOne(signal?: AbortSignal): Promise<Connection> {
    try {
      return await this.openings.open((connection) => this.all.add(connection), signal);
    } catch (error) {
      throw this.closed ?? error;
    }
  }

  private giveOut(connection: Connection): void {
    if (connection.endedBy !== undefined) return;
    const now = this.clock.monotonic();
    connection.takenBy = undefined;
    if (this.closed !== undefined || connection.obsolete || connection.expiresAt <= now) return this.retire(connection);
    // Who shares brings its like along: a queue of them would else be served one by one for ever.
    const granted = this.waiters.grant(connection, Math.min(MOST, Math.ceil(this.waiters.size / this.options.max)));
    if (granted > 0) {
      connection.users = granted;
      this.taken(connection, now);
      return;
    }
    connection.idleSince = now;
    this.idle.push(connection);
  }

  private empty(deadline: number): Promise<void> {
    if (this.all.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.clock.after(timerDelay(deadline - this.clock.monotonic()), resolve);
      this.onEmpty = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  private lostError(how: string): UnavailableError {
    return new UnavailableError(`The connection ${how}`, { component: this.component });
  }
}
