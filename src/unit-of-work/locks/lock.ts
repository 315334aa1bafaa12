/** A lock that is held: its lease, renewed in the background, and its end. */
import type { Timer } from '../../clock.js';
import type { CollectionHost } from '../../collection/host.js';
import type { OperationContext } from '../../component.js';
import { StorageError } from '../../errors.js';
import { Handle } from '../../handle.js';
import { refuseInsideTransaction } from '../attempt.js';
import { extendLock, freeLock, type Claim, type Taken } from './record.js';

export interface Lock {
  readonly name: string;
  /** Greater than that of every holder before: what the lock guards refuses numbers below the highest it has seen. */
  readonly token: number;
  /** When another may have it, by the database's clock, unless it is renewed before. */
  readonly expiresAt: Date;
  /**
   * Aborts when the lock is lost: its lease ran out, or another has it (its reason is `LEASE_LOST`, `details.reason`
   * `expired` or `taken`); and when the manager
   * closes (`CLOSED`). Not when it is given back.
   */
  readonly signal: AbortSignal;
  /** Holds it for `ttl` from now. @throws `LEASE_LOST` when it is not held any more */
  renew(): Promise<void>;
  /**
   * Gives it back. Whether it was held until now; one that is lost is another's, and is left alone. Called again it tells
   * the same. @throws what the database throws; the lock then ends by itself at `expiresAt`
   */
  release(): Promise<boolean>;
  /** As `release`, but a fault of the database is no error: the lock ends by itself. */
  [Symbol.asyncDispose](): Promise<void>;
}

export interface Holding {
  readonly ttl: number;
  readonly renew: boolean;
  /** Whether a function runs under it, at whose end it is given back, also while the manager closes. */
  readonly isScoped: boolean;
  /** When its lease ends, by the monotonic clock. */
  readonly end: number;
  /** Called when it is not held any more; maybe again. */
  readonly onEnd: () => void;
}

const REASONS = {
  taken: 'another has it, or had it',
  expired: 'it was not renewed in time',
  released: 'it was given back',
};

export class HeldLock extends Handle implements Lock {
  readonly name: string;
  readonly token: number;
  private until: Date;
  private end: number;
  private state: 'held' | 'released' | 'lost' = 'held';
  private readonly abort = new AbortController();
  private expiry: Timer | undefined;
  private renewal: Timer | undefined;
  private renewing: Promise<void> | undefined;
  private releasing: Promise<boolean> | undefined;
  /** A release failed: it may have been given back by that, and only the answer was lost. */
  private mayBeFree = false;
  private loss: StorageError | undefined;
  /** Of the last renewal. */
  private fault: unknown;

  constructor(
    private readonly host: CollectionHost,
    private readonly claim: Claim,
    { token, until }: Taken,
    private readonly holding: Holding,
  ) {
    super();
    this.name = claim.name;
    this.token = token;
    this.until = until;
    this.end = holding.end;
    this.schedule();
  }

  toJSON(): Record<string, unknown> {
    const { name, token, expiresAt } = this;
    return { name, token, expiresAt };
  }

  get expiresAt(): Date {
    return new Date(this.until);
  }

  get signal(): AbortSignal {
    return this.abort.signal;
  }

  async renew(): Promise<void> {
    refuseInsideTransaction(this.host.backend.pool, 'lock.renew');
    if (this.isHeld()) await this.extend();
    if (!this.isHeld()) throw this.failure();
  }

  async release(): Promise<boolean> {
    refuseInsideTransaction(this.host.backend.pool, 'lock.release');
    if (this.releasing === undefined) return this.giveBack();
    await this.releasing;
    return false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.giveBack().catch(() => undefined);
  }

  /** The manager closes. A function that runs under the lock is told, and keeps it to its end. */
  close(error: StorageError): void {
    this.abort.abort(error);
    if (!this.holding.isScoped) void this.giveBack().catch(() => undefined);
  }

  /** Why it is not held any more. */
  failure(): StorageError {
    return this.loss ?? this.lost('released');
  }

  /** A process that was frozen may find out by asking, before its timer tells it. */
  private isHeld(): boolean {
    if (this.state === 'held' && this.host.clock.monotonic() >= this.end) this.lose('expired');
    return this.state === 'held';
  }

  private giveBack(): Promise<boolean> {
    return (this.releasing ??= this.free());
  }

  private async free(): Promise<boolean> {
    if (this.isHeld()) {
      this.stop('released');
    } else if (this.state === 'lost') {
      return false;
    }
    try {
      const wasHeld = await freeLock(this.host, this.claim, this.context(this.end));
      // The release before this one was heard, then: before the lease's end nobody else can have taken it.
      if (wasHeld || (this.mayBeFree && this.host.clock.monotonic() < this.end)) return true;
      this.loss = this.lost('taken');
      return false;
    } catch (error) {
      // Nothing is left to be given back.
      if (this.host.clock.monotonic() >= this.end) {
        this.loss = this.lost('expired', error);
        return false;
      }
      this.releasing = undefined;
      this.mayBeFree = true;
      throw error;
    } finally {
      this.holding.onEnd();
    }
  }

  private schedule(): void {
    const { clock } = this.host;
    this.expiry?.cancel();
    // Not by the time it is then: the system's timers come up to two milliseconds early.
    this.expiry = clock.after(this.end - clock.monotonic(), () => this.lose('expired'), { background: true });
    this.renewIn(this.end - (this.holding.ttl * 2) / 3 - clock.monotonic());
  }

  private renewIn(milliseconds: number): void {
    if (!this.holding.renew) return;
    this.renewal?.cancel();
    this.renewal = this.host.clock.after(milliseconds, () => void this.renewAgain(), { background: true });
  }

  private async renewAgain(): Promise<void> {
    if (!this.isHeld()) return;
    try {
      await this.extend();
    } catch (error) {
      this.fault = error;
      // It is tried again while the lease lasts.
      if (this.isHeld()) this.renewIn(this.holding.ttl / 12);
    }
  }

  /** Not admitted as an operation: the lock is, for as long as it is held. One at a time, so that the last end stands. */
  private extend(): Promise<void> {
    return (this.renewing ??= this.write().finally(() => (this.renewing = undefined)));
  }

  private async write(): Promise<void> {
    const { clock } = this.host;
    const { ttl } = this.holding;
    const begun = clock.monotonic();
    const until = await extendLock(this.host, this.claim, ttl, this.context(Math.min(begun + ttl / 3, this.end)));
    if (until === undefined) {
      this.lose('taken');
    } else if (this.isHeld()) {
      this.until = until;
      this.end = begun + ttl;
      this.fault = undefined;
      this.schedule();
    } else if (this.state === 'lost') {
      // Nobody holds what came too late.
      await freeLock(this.host, this.claim, this.context(begun + ttl)).catch(() => undefined);
    }
  }

  private lose(reason: 'taken' | 'expired'): void {
    if (this.state !== 'held') return;
    this.stop('lost');
    this.loss = this.lost(reason, reason === 'expired' ? this.fault : undefined);
    this.abort.abort(this.loss);
    this.holding.onEnd();
  }

  private lost(reason: keyof typeof REASONS, cause?: unknown): StorageError {
    const { name, token } = this;
    return new StorageError('LEASE_LOST', `The lock ${JSON.stringify(name)} is not held any more: ${REASONS[reason]}`, {
      component: this.host.backend.name,
      operation: 'lock',
      details: { name, token, reason },
      cause,
    });
  }

  private stop(state: 'released' | 'lost'): void {
    this.state = state;
    this.expiry?.cancel();
    this.renewal?.cancel();
  }

  private context(deadline: number): OperationContext {
    return { now: this.host.clock.now(), deadline };
  }
}
