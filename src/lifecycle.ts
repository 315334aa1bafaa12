/**
 * The wrapper that a manager's components run in: opened once however many ask, closed once, never half open. No
 * component has to know of the others, nor guard itself against a second opening.
 */
import { LONGEST_DELAY, type Clock } from './clock.js';
import { checkKnown, foreignErrorName, invalid, isStorageError, StorageError, TimeoutError } from './errors.js';
import { CLOSE_GRACE, ComponentSet, type ManagedStatus } from './lifecycle/component-set.js';
import type { Managed } from './lifecycle/graph.js';
import { Opening, overtaken } from './lifecycle/opening.js';

export { CLOSE_GRACE, type ManagedStatus } from './lifecycle/component-set.js';
export type { ComponentState, Managed } from './lifecycle/graph.js';

/** `failed`: the last opening failed and the next `open()` tries again. */
export type LifecycleState = 'idle' | 'opening' | 'ready' | 'draining' | 'closed' | 'failed';

/** Ends the admission of one operation. Calling it again does nothing. */
export type Release = () => void;

export interface LifecycleOptions {
  /** Composes the components anew for every opening. */
  readonly components: () => Promise<readonly Managed[]>;
  readonly clock: Clock;
  /** Milliseconds that a whole opening may take. */
  readonly openTimeout: number;
  /** Milliseconds that work in flight gets at a close that names no deadline. */
  readonly drainTimeout: number;
  /** Told of every change of state; what it throws is ignored. */
  readonly onState?: (state: LifecycleState, error?: StorageError) => void;
  /**
   * Told that a close begins, with the milliseconds that what works by itself may still take. What it gives is called when that has
   * ended, or the deadline has.
   */
  readonly onClosing?: (time: number) => () => void;
  /** Told once of a component that is not critical and does not open, until it has. */
  readonly onFault?: (error: StorageError) => void;
}

export interface CloseOptions {
  /** Milliseconds that work in flight may still take. Default: `drainTimeout`. */
  readonly deadline?: number | undefined;
}

/** Milliseconds of a close in which what works by itself gives back what it has not done by then. */
const GIVING_BACK = 1_000;

/** The operations of one opening. Kept apart from the next one's, so that a late release is not counted there. */
interface Work {
  count: number;
  onIdle?: () => void;
}

export class Lifecycle {
  private current: LifecycleState = 'idle';
  private set: ComponentSet | undefined;
  private work: Work = { count: 0 };
  private opening: Opening | undefined;
  private closing: Promise<void> | undefined;
  private failure: StorageError | undefined;
  private finished = false;
  /** A close waits for the work in flight. */
  private isDraining = false;

  constructor(private readonly options: LifecycleOptions) {}

  get state(): LifecycleState {
    return this.current;
  }

  /** Whether an opening has succeeded once; it stays true. */
  get started(): boolean {
    return this.finished;
  }

  /** The components of the last opening, open or not; empty before the first. */
  components(): readonly ManagedStatus[] {
    return this.set?.statuses() ?? [];
  }

  /**
   * Opens the components; concurrent calls share one opening. During a close it waits for its end and opens again.
   * @throws the error of the first critical component that did not open (`UNAVAILABLE` when it is not a StorageError);
   * `TIMEOUT` naming the components that were still opening; `CLOSED` when a close came first. Whatever had opened is
   * closed by then, and the next call tries again.
   */
  open(): Promise<void> {
    if (this.current === 'ready') return Promise.resolve();
    if (this.opening === undefined) {
      const opening = new Opening();
      this.opening = opening;
      // The promise is there before the work begins: a listener of the state may call open() again.
      this.run(opening).then(opening.resolve, opening.reject);
      return opening.promise;
    }
    return this.opening.promise;
  }

  /**
   * Refuses new work, ends what works by itself, gives work in flight its deadline, closes the components in the reverse order of their opening.
   * Concurrent calls share one closing; it never hangs, and rejects only wrong options (`VALIDATION`). A component
   * whose close does not settle is abandoned a second after the deadline.
   */
  close(options: CloseOptions = {}): Promise<void> {
    try {
      checkKnown(options, CLOSE_OPTIONS);
    } catch (fault) {
      if (isStorageError(fault)) return Promise.reject(fault);
      throw fault;
    }
    const wait = options.deadline ?? this.options.drainTimeout;
    if (typeof wait !== 'number' || !(wait >= 0 && wait <= LONGEST_DELAY))
      return Promise.reject(invalid('deadline', wait, `milliseconds from 0 to ${LONGEST_DELAY}`));
    const deadline = this.options.clock.monotonic() + wait;
    const opening = this.opening;
    this.opening = undefined;
    opening?.stop(deadline);
    if (this.closing !== undefined) return this.closing;
    let done!: () => void;
    const closing = new Promise<void>((resolve) => (done = resolve));
    this.closing = closing;
    void this.shut(opening, deadline).then(() => {
      this.closing = undefined;
      done();
    });
    return closing;
  }

  /**
   * Admits one operation and counts it as in flight until it is released.
   * @param isStep whether it is a step of one that is in flight: those are taken as long as a close waits for that
   * @throws `CLOSED` unless ready; `UNAVAILABLE` while the component that it is of has not opened.
   */
  begin(component?: string, isStep?: () => boolean): Release {
    const isTaken = this.current === 'ready' || (this.isDraining && isStep?.() === true);
    if (!isTaken) throw this.refusal();
    const refusal = component === undefined ? undefined : this.set!.refusal(component);
    if (refusal !== undefined) throw refusal;
    const work = this.work;
    work.count += 1;
    let released = false;
    return () => {
      if (released) return;
      released = true;
      work.count -= 1;
      if (work.count === 0) work.onIdle?.();
    };
  }

  private async run(opening: Opening): Promise<void> {
    if (this.closing !== undefined) await Promise.race([this.closing, opening.interrupted]);
    if (opening.stopped) throw overtaken();
    const { clock, openTimeout } = this.options;
    const deadline = clock.monotonic() + openTimeout;
    let set: ComponentSet | undefined;
    const timer = clock.after(openTimeout, () => {
      const error =
        set === undefined ? new TimeoutError(`Composing took longer than ${openTimeout} ms`) : set.expire(openTimeout);
      if (error === undefined) expired();
      else opening.interrupt(error);
    });
    let expired!: () => void;
    const degraded = new Promise<void>((resolve) => (expired = resolve));
    this.enter('opening');
    try {
      const managed = await Promise.race([this.compose(), opening.interrupted]);
      if (opening.stopped) throw overtaken();
      this.set = set = new ComponentSet(managed, clock, this.options.onFault);
      await Promise.race([set.open(), opening.interrupted, degraded]);
      if (opening.stopped) throw overtaken();
    } catch (reason) {
      timer.cancel();
      const patience = opening.deadline ?? Math.min(deadline, clock.monotonic() + CLOSE_GRACE);
      await set?.close(opening.deadline ?? clock.monotonic(), patience);
      if (opening.stopped) throw overtaken();
      throw this.fail(reason);
    }
    timer.cancel();
    this.work = { count: 0 };
    this.opening = undefined;
    this.failure = undefined;
    this.finished = true;
    this.enter('ready');
  }

  private async compose(): Promise<readonly Managed[]> {
    return this.options.components();
  }

  private fail(reason: unknown): StorageError {
    this.opening = undefined;
    this.failure = isStorageError(reason)
      ? reason
      : new StorageError('INTERNAL', `The components could not be composed (${foreignErrorName(reason)})`, {
          operation: 'open',
          cause: reason,
        });
    this.enter('failed', this.failure);
    return this.failure;
  }

  private async shut(opening: Opening | undefined, deadline: number): Promise<void> {
    if (this.current === 'closed') return;
    if (this.current === 'ready') {
      this.enter('draining');
      this.isDraining = true;
      const time = Math.floor(deadline - this.options.clock.monotonic()) - GIVING_BACK;
      const onDrained = this.options.onClosing?.(Math.max(0, time));
      await this.drain(deadline);
      onDrained?.();
      this.isDraining = false;
      await this.set?.close(deadline);
    } else if (opening !== undefined) {
      this.enter('draining');
      // An opening that was overtaken closes its own components.
      await opening.promise.catch(() => undefined);
    }
    this.enter('closed');
  }

  private drain(deadline: number): Promise<void> {
    const { work } = this;
    const { clock } = this.options;
    if (work.count === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = clock.after(Math.max(0, deadline - clock.monotonic()), resolve);
      work.onIdle = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  private enter(state: LifecycleState, error?: StorageError): void {
    this.current = state;
    try {
      this.options.onState?.(state, error);
    } catch {
      // A listener must not be able to leave the components half open.
    }
  }

  private refusal(): StorageError {
    const ended = this.current === 'draining' || this.current === 'closed';
    const message = ended
      ? `The storage manager is ${this.current === 'closed' ? 'closed' : 'closing and takes no new work'}`
      : `The storage manager is not open (${this.current}): await open() first`;
    return new StorageError('CLOSED', message, { details: { state: this.current }, cause: this.failure });
  }
}

const CLOSE_OPTIONS: ReadonlySet<string> = new Set(['deadline'] satisfies (keyof CloseOptions)[]);
