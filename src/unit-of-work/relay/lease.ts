/** The lease of one claimed lane: how long it is ours, renewed in the background. */
import type { RecordBackend, WriteResult } from '../../backends/backend.js';
import type { Clock, Timer } from '../../clock.js';
import { later, renewal, type ClaimedLane } from './claim.js';
import type { Operate } from './operate.js';

export interface LeaseHost {
  readonly backend: RecordBackend;
  readonly clock: Clock;
  readonly operate: Operate;
  /** Milliseconds. */
  readonly lease: number;
}

export class LaneLease {
  /** Of the lane's record. */
  version: number;
  private end: number;
  private expiry: Timer | undefined;
  /** Set while it is renewed in the background. */
  private renewal: Timer | undefined;
  /** The renewal that is on its way. */
  private renewing: Promise<boolean> | undefined;

  /** @param onLost told at its end, maybe again, and maybe of one that is renewed after all: what must not outlive it ends */
  constructor(
    private readonly host: LeaseHost,
    private readonly lane: ClaimedLane,
    private readonly onLost: (why: string) => void,
  ) {
    this.version = lane.version;
    this.end = lane.end;
    this.watch();
  }

  /** A process that was frozen may find out by asking, before its timer tells it. */
  get isHeld(): boolean {
    return this.host.clock.monotonic() < this.end;
  }

  /** Renews it from now on: the first time when two thirds of it are left, however long the claim took. */
  start(): void {
    const { clock, lease } = this.host;
    this.renewIn(Math.max(0, this.end - clock.monotonic() - (2 * lease) / 3));
  }

  /** No renewal comes after this: it would take back what is said of the lane then. */
  async stop(): Promise<void> {
    this.renewal?.cancel();
    this.renewal = undefined;
    await this.renewing;
  }

  /** Nothing is done with the lane any more. */
  close(): void {
    this.renewal?.cancel();
    this.renewal = undefined;
    this.expiry?.cancel();
  }

  /** @returns whether it is ours; not where nobody knows. */
  renew(): Promise<boolean> {
    return (this.renewing ??= this.write().finally(() => (this.renewing = undefined)));
  }

  /**
   * After a change of the lane that gave it another lease. It counts from before that: by the database's clock it is longer.
   * @param begun when the change began, by the monotonic clock @returns whether the lane was ours.
   */
  extend(result: WriteResult, begun: number): boolean {
    if (result.status !== 'patched') {
      this.end = -Infinity;
      this.onLost('another relay has the key');
      return false;
    }
    // The answers to two changes may come in another order than the changes were made.
    if (result.record.version < this.version) return true;
    this.version = result.record.version;
    this.end = begun + this.host.lease;
    this.watch();
    return true;
  }

  private watch(): void {
    const { clock } = this.host;
    this.expiry?.cancel();
    const lose = (): void => this.onLost('it was not renewed in time, and another relay may have the key');
    this.expiry = clock.after(this.end - clock.monotonic(), lose, { background: true });
  }

  private renewIn(milliseconds: number): void {
    const { clock, lease } = this.host;
    const renew = async (): Promise<void> => {
      const isRenewed = await this.renew();
      // It is tried again while the lease lasts.
      if (this.renewal !== undefined) this.renewIn(isRenewed ? lease / 3 : lease / 12);
    };
    this.renewal = clock.after(milliseconds, () => void renew(), { background: true });
  }

  private async write(): Promise<boolean> {
    const { backend, clock, lease, operate } = this.host;
    const begun = clock.monotonic();
    const timeout = this.isHeld ? Math.min(lease / 3, this.end - begun) : lease / 3;
    try {
      const [result] = await operate(
        (context) => backend.write(this.lane.scope, [renewal(this.lane, later(context, lease))], context),
        timeout,
      );
      // It may have ended meanwhile, by its own hand.
      return this.renewal !== undefined && this.extend(result!, begun);
    } catch {
      return false;
    }
  }
}
