/** The delivery loop: claims lanes that are due and delivers them side by side, until it is stopped. */
import type { RecordBackend, Stored } from '../backends/backend.js';
import { EARLY, LONGEST_DELAY } from '../clock.js';
import { groupBy } from '../collection/group-by.js';
import type { CollectionHost } from '../collection/host.js';
import type { AdmittedCall, BeginLoop } from '../component.js';
import { checkKnown, invalid, isStorageError, StorageError } from '../errors.js';
import { Handle } from '../handle.js';
import { LoopPause } from './loop-pause.js';
import { OUTBOX_TABLES } from './outbox/records.js';
import { onWake } from './outbox/wake.js';
import { claim, type ClaimedLane } from './relay/claim.js';
import { DueLanes } from './relay/due-lanes.js';
import { Endings } from './relay/endings.js';
import { readHeads, type Head } from './relay/heads.js';
import { LaneDelivery, type LaneHost } from './relay/lane.js';
import type { DeliveryFailure } from './relay/faults.js';
import { LockWaits } from './relay/lock-waits.js';
import { operations, withinAdmitted, type Operate } from './relay/operate.js';
import { backoffDelay, type RelaySettings } from './relay/options.js';
import { Places } from './relay/places.js';
import { StopDeadline } from './stop-deadline.js';

export interface RelayStatus {
  /** `stopped` also when the manager was closed under it. */
  readonly state: 'running' | 'stopping' | 'stopped';
  /** Keys that it holds: delivered now, delivered and being noted, or next. At most three times `concurrency`. */
  readonly inFlight: number;
  readonly delivered: number;
  readonly failed: number;
  readonly dead: number;
}

const STOP_OPTIONS: ReadonlySet<string> = new Set(['deadline']);

const UNANSWERED = new StorageError(
  'ABORTED',
  'The relay was stopped before the database had answered: the leases of its keys run out by themselves',
  { operation: 'relay' },
);

/** The claims that may miss at once: another relay was faster. After them it pauses: what is due may be locked by a session. */
const MOST_MISSES = 3;

/** Lanes that one look finds for each that is free now: they are claimed without a look of their own. */
const LOOKED_FOR = 4;

/** Of how many found ones a claim takes those that are free: some servers look up every combination of their times and ids. */
const CHOSEN_FROM = 40;

/** The longest wait between looks while the database cannot be reached. */
const LONGEST_WAIT = 10_000;

export class Relay extends Handle {
  private readonly backend: RecordBackend;
  private readonly lanes = new Map<string, { readonly delivery: LaneDelivery; readonly ended: Promise<void> }>();
  private readonly places: Places;
  private readonly settings: RelaySettings;
  private readonly laneHost: LaneHost;
  private readonly admitted: AdmittedCall;
  private readonly operate: Operate;
  /** Where the claims were admitted, as those who measure know it. */
  private component: string | undefined;
  /** Gives up the deliveries that run, and those that begin yet. */
  private readonly giveUp = new AbortController();
  /** Gives up what the database has not answered. */
  private readonly abandon = new AbortController();
  private readonly unlisten: () => void;
  private readonly loopEnded: Promise<void>;
  private readonly counts = { delivered: 0, failed: 0, dead: 0 };
  private stopping = false;
  private ended = false;
  private stopped: Promise<void> | undefined;
  private readonly deadline: StopDeadline;
  private readonly pauses: LoopPause;
  private readonly due: DueLanes;
  /** Whether its tables are known to be there. */
  private isUsed = false;
  /** Claims in a row that got nothing of what was due. */
  private misses = 0;

  constructor(
    private readonly host: CollectionHost,
    settings: RelaySettings,
    beginLoop: BeginLoop,
  ) {
    super();
    this.admitted = beginLoop((time) => this.stop({ deadline: time }));
    this.backend = host.backend;
    this.pauses = new LoopPause(host.clock);
    this.places = new Places(settings.concurrency, host.clock, () => this.pauses.wake());
    this.settings = { ...settings, onFailure: (failure) => this.count(failure, settings.onFailure) };
    this.operate = operations(host, settings.lease, this.abandon.signal);
    const isStopping = (): boolean => this.stopping;
    this.due = new DueLanes(host.backend, [...settings.handlers.keys()], this.operate);
    const admitted = withinAdmitted(host, () => this.component);
    this.laneHost = {
      ...{ backend: host.backend, clock: host.clock, lease: settings.lease },
      ...{ settings: this.settings, operate: operations(admitted, settings.lease, this.abandon.signal) },
      endings: new Endings(admitted),
      places: this.places,
      lockWaits: new LockWaits(settings.concurrency, host.clock, isStopping),
      isStopping,
      givenUp: this.giveUp.signal,
      operateUntilGivenUp: operations(admitted, settings.lease, this.giveUp.signal),
    };
    this.deadline = new StopDeadline(
      host.clock,
      () => {
        this.giveUp.abort();
        this.lanes.forEach(({ delivery }) => delivery.stop());
      },
      () => this.abandon.abort(UNANSWERED),
    );
    this.unlisten = onWake(this.backend, () => this.pauses.wake());
    this.loopEnded = this.admitted.run(() => this.loop());
  }

  toJSON(): Record<string, unknown> {
    return { ...this.status() };
  }

  status(): RelayStatus {
    const state = this.ended ? 'stopped' : this.stopping ? 'stopping' : 'running';
    const { counts } = this;
    // A key that is never empty stays in flight.
    const delivered = [...this.lanes.values()].reduce(
      (sum, { delivery }) => sum + delivery.delivered,
      counts.delivered,
    );
    return { state, inFlight: this.lanes.size, ...counts, delivered };
  }

  /**
   * Claims nothing more, waits for the deliveries in flight and gives their keys back. Those that take longer than
   * `deadline` (milliseconds, default 10,000) are aborted, and will be delivered again. Where the database does not answer
   * within a second more, their leases are left to run out. Nothing runs afterwards. Called again, the shorter deadline counts.
   * @throws `VALIDATION`
   */
  async stop(options: { readonly deadline?: number | undefined } = {}): Promise<void> {
    checkKnown(options, STOP_OPTIONS);
    const { deadline = 10_000 } = options;
    if (typeof deadline !== 'number' || !(deadline >= 0) || deadline > LONGEST_DELAY)
      throw invalid('deadline', deadline, 'a number of milliseconds, 0 or more');
    this.stopped ??= this.end();
    // What it gives up is given back as a step of it.
    this.admitted.run(() => this.deadline.in(deadline));
    return this.stopped;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  private async end(): Promise<void> {
    this.stopping = true;
    this.places.close();
    this.pauses.wake();
    await this.loopEnded;
    await Promise.all([...this.lanes.values()].map(({ ended }) => ended));
    this.deadline.end();
    this.admitted.end();
    this.ended = true;
  }

  private async loop(): Promise<void> {
    let failures = 0;
    while (!this.stopping) {
      let more = false;
      try {
        more = await this.claimSome();
        if (failures > 0) this.settings.onWell();
        failures = 0;
      } catch (error) {
        failures++;
        this.fault(error);
      }
      if (!more && !this.stopping) await this.pauses.pause(this.delay(failures));
    }
    this.unlisten();
  }

  /** @returns whether to look again at once. */
  private async claimSome(): Promise<boolean> {
    const { concurrency } = this.settings;
    this.pauses.look();
    if (this.free === 0) return false;
    if (this.due.mayBeMore) await this.pauses.gather(() => this.stopping || this.free >= concurrency / 2);
    if (this.stopping || !(await this.hasTables())) return false;
    // What has woken the loop is seen to by a look, not by a claim of what an earlier one found.
    const hasLooked = await this.due.find(LOOKED_FOR * this.free + this.lanes.size);
    const { free } = this;
    if (this.stopping || free === 0) return false;
    // Those that others have taken meanwhile are made up for, where one claim chooses.
    const wanted = this.due.take(this.backend.claim === undefined ? free : Math.max(free, CHOSEN_FROM));
    const due = wanted.filter(({ id }) => !this.lanes.has(id));
    if (due.length === 0) return !hasLooked || this.due.mayBeMore;
    const claimed = await this.claim(due, free);
    const isBeaten = claimed.length < Math.min(free, due.length);
    if (!isBeaten) this.due.putBack(due.filter(({ id }) => !claimed.includes(id)));
    else this.due.forget();
    this.misses = claimed.length === 0 ? this.misses + 1 : 0;
    return this.misses < MOST_MISSES && (!hasLooked || isBeaten || this.due.mayBeMore);
  }

  private get free(): number {
    return this.places.free(this.lanes.size);
  }

  private async hasTables(): Promise<boolean> {
    const { backend, host, settings } = this;
    if (this.isUsed || settings.makesTables || backend.exists === undefined) return true;
    const look = operations({ ...host, ensure: () => undefined }, settings.lease, this.abandon.signal);
    this.isUsed = await look((context) => backend.exists!(OUTBOX_TABLES, context));
    return this.isUsed;
  }

  /** In flight until the lanes are given back: a close waits for that. @returns the ids of those that it has got */
  private async claim(due: readonly Stored[], most: number): Promise<string[]> {
    const { lease } = this.settings;
    const operation = this.host.begin('relay');
    this.component = operation.component;
    try {
      const end = this.host.clock.monotonic() + lease;
      const claimed = await this.operate((context) =>
        claim(this.backend, due, most, this.due.token, { lease, end }, context),
      );
      await this.begin(claimed);
      return claimed.map(({ id }) => id);
    } finally {
      void Promise.all(due.flatMap(({ id }) => this.lanes.get(id)?.ended ?? [])).then(() => operation.end());
    }
  }

  /** Reads the heads of all together. What cannot be read here, each lane reads by itself. */
  private async begin(claimed: readonly ClaimedLane[]): Promise<void> {
    const tenants = groupBy(claimed, ({ scope }) => scope.tenant);
    // Well before their leases end: none of them is renewed yet.
    const { batch, lease } = this.settings;
    const each = async (lanes: readonly ClaimedLane[]): Promise<void> => {
      const read = (): Promise<Head[]> =>
        this.laneHost.operate((context) => readHeads(this.backend, lanes, batch, context), lease / 3);
      const heads = lanes.length === 1 ? [] : await read().catch((): Head[] => []);
      lanes.forEach((lane, i) => this.deliver(lane, heads[i]));
    };
    await Promise.all([...tenants.values()].map(each));
  }

  private deliver(lane: ClaimedLane, head: Head | undefined): void {
    const delivery = new LaneDelivery(this.laneHost, lane, head);
    // It is there before it runs: a handler that stops the relay is given up with the others.
    const ended = Promise.resolve().then(() => this.run(lane.id, delivery));
    this.lanes.set(lane.id, { delivery, ended });
  }

  private async run(id: string, delivery: LaneDelivery): Promise<void> {
    try {
      await delivery.run();
    } catch (error) {
      this.fault(error);
    }
    if (delivery.rest > 0) this.wakeAfter(delivery.rest);
    this.counts.delivered += delivery.delivered;
    this.lanes.delete(id);
    this.pauses.wake();
  }

  /** A transaction that held a key may have ended before this: its own wake has found the lane at rest. */
  private wakeAfter(milliseconds: number): void {
    this.host.clock.after(milliseconds + EARLY, () => this.pauses.wake(), { background: true });
  }

  private count(failure: DeliveryFailure, tell: (failure: DeliveryFailure) => void): void {
    this.counts.failed++;
    if (failure.dead) this.counts.dead++;
    tell(failure);
  }

  /** A database that is not open yet refuses as a closed one does: when the manager closes, that ends the relay. */
  private fault(error: unknown): void {
    if (!(this.stopping && isStorageError(error, 'CLOSED'))) this.settings.onError(error);
  }

  private delay(failures: number): number {
    const { poll } = this.settings;
    if (failures > 0) return backoffDelay({ base: poll, max: Math.max(poll, LONGEST_WAIT) }, failures);
    return poll / 2 + Math.random() * poll;
  }
}
