/** One claimed lane: its messages are delivered in order until it is empty, one fails, or the lane is no longer ours. */
import { isStorageError, StorageError, thrownText } from '../../errors.js';
import type { RecordBackend, Stored, Write, WriteResult } from '../../backends/backend.js';
import type { OperationContext } from '../../component.js';
import { acknowledgement } from '../outbox/idempotency.js';
import { KEYS, LANES, MESSAGES, readMessage } from '../outbox/records.js';
import { isDone, later, ownChange, type ClaimedLane } from './claim.js';
import type { Endings } from './endings.js';
import { HandlerCall, type Fault } from './handler-call.js';
import { readHeads, type Head } from './heads.js';
import { LaneLease, type LeaseHost } from './lease.js';
import { restOf, type LockWaits } from './lock-waits.js';
import type { Operate } from './operate.js';
import { backoffDelay, ForAnotherProcess, type RelaySettings } from './options.js';
import { Place, type Places } from './places.js';

/** Milliseconds for which a delivered message may wait for those after it, to be deleted together with them. */
const TOGETHER = 100;
const MOST_TOGETHER = 100;

/** Doublings of the wait of a message that is for another process: by default it is half a minute then. */
const MOST_DOUBLINGS = 5;

/** The relay that delivers it. */
export interface LaneHost extends LeaseHost {
  readonly settings: RelaySettings;
  readonly endings: Endings;
  readonly places: Places;
  readonly lockWaits: LockWaits;
  readonly isStopping: () => boolean;
  /** Aborts when the relay gives up the deliveries that run. */
  readonly givenUp: AbortSignal;
  /** Operations until then. */
  readonly operateUntilGivenUp: Operate;
}

export class LaneDelivery {
  delivered = 0;
  /** Milliseconds for which the lane, given back, is to be left alone; 0: it is looked at whenever. */
  rest = 0;
  private readonly backend: RecordBackend;
  private readonly settings: RelaySettings;
  private readonly lease: LaneLease;
  /** Milliseconds that the database took to answer: the claim. */
  private readonly answerTime: number;
  private attempts: number;
  /** After a fault each message is deleted by itself: the one at which a process dies is to be known. */
  private together: boolean;
  /** Delivered, and not deleted yet. */
  private done: Stored[] = [];
  private acknowledged: number;
  /** Why the lane's delivery ends before it is empty. */
  private ending: 'lost' | 'stopped' | undefined;
  private current: HandlerCall | undefined;
  private readonly place: Place;
  constructor(
    private readonly host: LaneHost,
    private readonly lane: ClaimedLane,
    /** Read since the claim, with those of other lanes. */
    private head: Head | undefined,
  ) {
    this.backend = host.backend;
    this.settings = host.settings;
    this.place = new Place(host.places);
    this.lease = new LaneLease(host, lane, (why) => this.lose(why));
    this.attempts = lane.attempts;
    this.together = lane.attempts === 1;
    this.acknowledged = host.clock.monotonic();
    this.answerTime = this.acknowledged - (lane.end - host.lease);
  }

  async run(): Promise<void> {
    this.lease.start();
    try {
      // Where no place is free in time, another relay may have one.
      let isMore = (await this.place.enter()) || (await this.release());
      while (isMore) isMore = await this.deliverSome();
    } finally {
      this.lease.close();
      this.place.leave();
    }
  }

  /** Gives up the delivery that runs, and the lease. */
  stop(): void {
    this.ending ??= 'stopped';
    this.current?.abort(new StorageError('ABORTED', 'The relay stops', { operation: 'relay' }));
  }

  /** @returns whether there may be more. */
  private async deliverSome(): Promise<boolean> {
    const { keyVersion, messages, isWhole } = this.head ?? (await this.readHead());
    this.head = undefined;
    for (const [i, message] of messages.entries()) {
      if (this.host.isStopping()) return this.release();
      if (!this.lease.isHeld && !(await this.lease.renew())) return false;
      const fault = await this.attempt(message);
      this.current = undefined;
      if (fault !== undefined) return this.end(message, fault.error);
      this.delivered++;
      this.done.push(message);
      const last = i === messages.length - 1;
      const isToKeep = last ? !isWhole : this.isToAcknowledge();
      if (isToKeep && !(await this.keep())) return false;
    }
    this.together = true;
    return isWhole ? this.finish(keyVersion) : true;
  }

  private async readHead(): Promise<Head> {
    const { batch } = this.settings;
    try {
      const heads = await this.host.operate((context) => readHeads(this.backend, [this.lane], batch, context));
      return heads[0]!;
    } catch (error) {
      // No delivery has begun: none is to be counted of a message that cannot be read. Where this fails, too, the lease runs
      // out, and one is.
      await this.leaveAlone().catch(() => undefined);
      throw error;
    }
  }

  private isToAcknowledge(): boolean {
    if (!this.together || this.done.length >= MOST_TOGETHER) return true;
    return this.host.clock.monotonic() - this.acknowledged >= TOGETHER;
  }

  /** The fault of the delivery, if it has one. */
  private attempt(message: Stored): Promise<Fault | undefined> | Fault {
    const { maxAttempts, timeout, handlers } = this.settings;
    const { attempts: attempt } = this;
    if (attempt > maxAttempts)
      return { error: new StorageError('ABORTED', 'The process ended, or lost its lease, during the delivery') };
    const { topic, token } = this.lane;
    const call = { handler: handlers.get(topic)!, message: readMessage(message), attempt, token, timeout };
    // There before the handler begins: that may stop the relay, which gives it up.
    this.current = new HandlerCall(this.host.clock, call);
    return this.current.run();
  }

  /** After a delivery that did not succeed. @returns whether the lane is to be gone on with. */
  private end(message: Stored, error: unknown): Promise<boolean> | boolean {
    if (this.ending === 'lost') return false;
    if (this.ending === 'stopped') return this.release();
    return error instanceof ForAnotherProcess ? this.pass() : this.fail(message, error);
  }

  /** Gives the lane back for a rest that grows with each one in a row. */
  private leaveAlone(): Promise<boolean> {
    const rests = this.restsBefore() + 1;
    return this.release(rests, backoffDelay(this.settings.backoff, Math.min(rests, MOST_DOUBLINGS + 1)));
  }

  /** Lets another process have the message at the head: it goes to whoever looks first when the rest is over. */
  private async pass(): Promise<boolean> {
    await this.leaveAlone();
    // A relay that looked as the rest ends would be the first again and again.
    this.rest = 0;
    return false;
  }

  /** In a row, with nothing delivered in between. */
  private restsBefore(): number {
    return this.delivered > 0 ? 0 : this.lane.rests;
  }

  private async fail(message: Stored, error: unknown): Promise<boolean> {
    const { maxAttempts, backoff, onFailure, isPermanent, isPassing } = this.settings;
    const attempt = this.attempts;
    const passes = isPassing(error);
    // Tries that passed leave half of them for faults of the message's own; the waits grow up to there.
    const kept = passes ? { attempts: Math.min(attempt, maxAttempts >> 1) } : {};
    const dead = !passes && (attempt >= maxAttempts || isPermanent(error));
    await this.lease.stop();
    const text = isStorageError(error) ? `${error.code}: ${error.message}` : thrownText(error);
    const results = await this.acknowledge((context) => {
      const noted = { attempts: attempt, error: text.slice(0, 1_000) };
      const set = dead ? { ...noted, deadAt: context.now.toISOString() } : noted;
      const lane = dead
        ? { set: { attempts: 0 }, unset: ['dueAt'] }
        : { set: { dueAt: later(context, backoffDelay(backoff, attempt)), ...kept } };
      const note: Write = { collection: MESSAGES, id: message.id, kind: 'patch', changes: { set } };
      return [note, ownChange(this.lane, lane)];
    });
    // The message was deleted meanwhile: the lane goes on with the next one.
    if (results[0]!.status === 'missing') {
      this.lease.start();
      return this.keep();
    }
    if (results.every(isDone)) onFailure({ message: readMessage(message), error, attempt, dead });
    return false;
  }

  /** Deletes the lane with its last messages, unless another message has come, or may come. @returns whether there may be more. */
  private async finish(keyVersion: number | undefined): Promise<boolean> {
    const { done, lane } = this;
    this.place.leave();
    // Of a message that comes next, none has begun.
    this.attempts = 1;
    const rests = this.restsBefore();
    const emptied = (): Write[] => {
      const gone = { kind: 'delete', returns: false } as const;
      const own: Write = { collection: LANES, id: lane.id, ...gone, ifVersion: this.lease.version };
      if (keyVersion === undefined) return [own];
      return [own, { collection: KEYS, id: lane.keyId, ...gone, ifVersion: keyVersion }];
    };
    const all = (context: OperationContext): Write[] => [
      ...emptied(),
      ...done.flatMap((message) => acknowledgement(message, context)),
    ];
    // One that was held would hold up the others again.
    if (rests === 0 && (await this.host.endings.end(lane.scope, 2 + 2 * done.length, this.answerTime, all)))
      return false;
    const results = await this.whenFree(emptied, rests > 0);
    // A wait that the relay gave up says nothing of the key.
    if (results === undefined) return this.release(this.host.givenUp.aborted ? rests : rests + 1);
    if (results.every(isDone)) return false;
    return !this.host.isStopping() && (await this.place.enter()) ? this.keep() : this.release();
  }

  /**
   * Writes what a transaction may hold up, with what is delivered.
   * @returns the results; `undefined` where it was not free in time, or nobody knows: the next change of the lane finds out, as
   * it is made only while the lane is there, and ours
   */
  private async whenFree(writes: () => readonly Write[], wasHeld: boolean): Promise<WriteResult[] | undefined> {
    const { givenUp, lockWaits, operateUntilGivenUp } = this.host;
    const write = (timeout: number): Promise<WriteResult[]> =>
      this.acknowledge(writes, Math.min(this.settings.lease / 3, timeout), operateUntilGivenUp);
    try {
      return await lockWaits.run(this.answerTime, wasHeld, write);
    } catch (error) {
      const isOpen = isStorageError(error) && (error.retryable || error.code === 'OUTCOME_UNKNOWN');
      if (isOpen || givenUp.aborted) return undefined;
      throw error;
    }
  }

  /** Deletes what is delivered, and keeps the lane for what comes next. @returns whether the lane is still ours. */
  private async keep(): Promise<boolean> {
    const begun = this.host.clock.monotonic();
    const [result] = await this.acknowledge((context) => {
      const set = { dueAt: later(context, this.settings.lease), attempts: 1 };
      return [ownChange(this.lane, { set })];
    });
    this.attempts = 1;
    return this.lease.extend(result!, begun);
  }

  /**
   * Lets another relay go on, after a rest where the key is held and this relay does not stop; a delivery that was not begun, or
   * given up by us, is not counted.
   * @param rests in a row, with the one that begins @param wanted its milliseconds
   */
  private async release(rests = 0, wanted = restOf(rests)): Promise<boolean> {
    await this.lease.stop();
    const rest = rests === 0 || this.host.isStopping() ? 0 : wanted;
    await this.acknowledge((context) => {
      const set = { dueAt: later(context, rest), attempts: this.attempts - 1, rests };
      return [ownChange(this.lane, { set })];
    });
    this.rest = rest;
    return false;
  }

  /** Deletes what is delivered together with other writes, or does none of it. @returns the results of the others. */
  private async acknowledge(
    others: (context: OperationContext) => readonly Write[],
    timeout?: number,
    operate = this.host.operate,
  ): Promise<WriteResult[]> {
    const { done } = this;
    const [results, gone] = await operate(async (context) => {
      const writes = others(context);
      const each = done.map((message) => acknowledgement(message, context));
      const all = await this.backend.write(this.lane.scope, [...writes, ...each.flat()], context);
      // By the place of each message's own deletion.
      let place = writes.length;
      const missing = each.map((one) => all[(place += one.length) - one.length]!.status === 'missing');
      return [all.slice(0, writes.length), missing] as const;
    }, timeout);
    this.acknowledged = this.host.clock.monotonic();
    if (results.every(isDone)) this.done = [];
    // What somebody else has deleted meanwhile needs no deletion, and is no reason to do none of the others.
    if (!gone.includes(true)) return results;
    this.done = done.filter((_message, i) => !gone[i]);
    return this.acknowledge(others, timeout, operate);
  }

  /** Ends the delivery that runs. What is written meanwhile is not, should another relay have the key. */
  private lose(why: string): void {
    if (this.current === undefined) return;
    this.ending ??= 'lost';
    this.current.abort(new StorageError('ABORTED', `The lease is lost: ${why}`, { operation: 'relay' }));
  }
}
