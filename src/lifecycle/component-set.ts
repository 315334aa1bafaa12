import type { Component } from '../component.js';
import type { Clock } from '../clock.js';
import { foreignErrorName, isStorageError, reworded, StorageError, TimeoutError, UnavailableError } from '../errors.js';
import { connect, type ComponentState, type Managed, type Node } from './graph.js';
import { within } from './within.js';

export interface ManagedStatus {
  readonly name: string;
  readonly component: Component;
  readonly critical: boolean;
  readonly state: ComponentState;
  /** Why it is not open; after a close, why the close was not clean. */
  readonly error?: StorageError;
}

/** Milliseconds that a component's `close` may take beyond its deadline before it is abandoned. */
export const CLOSE_GRACE = 1_000;
const FIRST_RETRY = 1_000;
const LONGEST_RETRY = 60_000;

/** The components of one opening: opened once, closed once, never used again. */
export class ComponentSet {
  private readonly nodes: readonly Node[];
  private readonly byName: ReadonlyMap<string, Node>;
  private readonly opened: Node[] = [];
  private readonly controller = new AbortController();
  private closing: Promise<void> | undefined;

  /**
   * @param report told once of each that is not critical and does not open, until it has
   * @throws `CONFIGURATION` for two of one name, an unknown name in `after`, or a circle.
   */
  constructor(
    managed: readonly Managed[],
    private readonly clock: Clock,
    private readonly report: (error: StorageError) => void = () => undefined,
  ) {
    this.nodes = connect(managed);
    this.byName = new Map(this.nodes.map((node) => [node.managed.component.name, node]));
  }

  /** Resolves when every critical component is open and each of the others has been tried once. */
  async open(): Promise<void> {
    await Promise.all(
      this.nodes.map(async (node) => {
        await this.begin(node);
        if (node.managed.critical && node.error !== undefined) throw node.error;
      }),
    );
  }

  /**
   * Says what the end of the time for opening means. Components that are not critical and still opening are given up
   * for now: they count as failed until their result comes in.
   * @returns the error when a critical one is not open.
   */
  expire(timeout: number): TimeoutError | undefined {
    const late = this.nodes.filter((node) => node.error === undefined && node.state !== 'open');
    const names = late.map((node) => node.managed.component.name);
    const error = new TimeoutError(`Opening took longer than ${timeout} ms; still opening: ${names.join(', ')}`, {
      operation: 'open',
      details: { timeout, components: names },
    });
    if (late.some((node) => node.managed.critical)) return error;
    for (const node of late) {
      node.state = 'retrying';
      node.error = new TimeoutError(`${node.managed.component.name} did not open within ${timeout} ms`, {
        component: node.managed.component.name,
        operation: 'open',
      });
      this.tell(node, node.error);
    }
    return undefined;
  }

  /** Why nothing can be asked of a component yet; `undefined` when it is open, or none of these. */
  refusal(component: string): UnavailableError | undefined {
    const node = this.byName.get(component);
    if (node === undefined || node.state === 'open' || node.state === 'closed') return undefined;
    const why = node.error === undefined ? node.state : `${node.error.code}: ${node.error.message}`;
    const message = `${component} has not opened yet, and is tried again in the background (${why})`;
    return new UnavailableError(message, { component, cause: node.error });
  }

  statuses(): ManagedStatus[] {
    return this.nodes.map(({ managed: { component, critical }, state, error }) => ({
      name: component.name,
      component,
      critical,
      state,
      ...(error === undefined ? {} : { error }),
    }));
  }

  /**
   * Closes what is open, in the reverse order of its opening, and what still opens as soon as it has opened. Never
   * rejects. A component that does not settle is abandoned: one that opens at `patience`, one that closes a second after
   * `deadline` (both of `Clock.monotonic`).
   */
  close(deadline: number, patience = deadline): Promise<void> {
    if (this.closing === undefined) {
      for (const node of this.nodes) node.retry?.cancel();
      this.controller.abort(new StorageError('CLOSED', 'The storage manager is closing', { operation: 'open' }));
      const rest = this.nodes.filter((node) => !this.opened.includes(node));
      const order = [...rest.reverse(), ...[...this.opened].reverse()];
      this.closing = Promise.all(order.map((node) => this.shut(node, deadline, patience))).then(() => undefined);
    }
    return this.closing;
  }

  private begin(node: Node): Promise<void> {
    return (node.first ??= this.openAfterBases(node));
  }

  private async openAfterBases(node: Node): Promise<void> {
    if (node.bases.length > 0) await Promise.all(node.bases.map((base) => this.begin(base)));
    if (this.controller.signal.aborted) return;
    const failed = node.bases.find((base) => base.state !== 'open');
    if (failed === undefined) return this.attempt(node);
    const { name } = node.managed.component;
    node.state = 'failed';
    node.error = new UnavailableError(`${name} needs ${failed.managed.component.name}, which did not open`, {
      component: name,
      operation: 'open',
      cause: failed.error,
    });
  }

  private attempt(node: Node): Promise<void> {
    if (node.state === 'pending') node.state = 'opening';
    node.attempt = this.tryOpening(node).finally(() => (node.attempt = undefined));
    return node.attempt;
  }

  private async tryOpening(node: Node): Promise<void> {
    const { component, critical } = node.managed;
    const { signal } = this.controller;
    try {
      await component.open({ clock: this.clock, signal });
    } catch (reason) {
      node.error = openingError(component.name, reason);
      node.state = 'failed';
      if (critical || signal.aborted) return;
      this.scheduleRetry(node);
      this.tell(node, node.error);
      return;
    }
    // Shutdown wins: what opens after it is closed at once.
    if (signal.aborted) return this.closeComponent(node, this.clock.monotonic());
    node.state = 'open';
    node.error = undefined;
    node.told = false;
    this.opened.push(node);
    for (const rider of node.riders)
      if (rider.state === 'failed' && rider.bases.every((base) => base.state === 'open')) void this.attempt(rider);
  }

  private tell(node: Node, error: StorageError): void {
    if (node.told === true) return;
    node.told = true;
    const { name } = node.managed.component;
    const message = `${name} did not open, and is tried again in the background: ${error.message}`;
    this.report(reworded(error, message, { component: name }));
  }

  private scheduleRetry(node: Node): void {
    node.state = 'retrying';
    const delay = Math.min(LONGEST_RETRY, FIRST_RETRY * 2 ** node.failures);
    node.failures += 1;
    // Between half and all of it, so that a fleet that lost its server together does not come back together.
    node.retry = this.clock.after(delay * (0.5 + Math.random() / 2), () => void this.attempt(node), {
      background: true,
    });
  }

  private shut(node: Node, deadline: number, patience: number): Promise<void> {
    return (node.closing ??= this.shutAfterRiders(node, deadline, patience));
  }

  private async shutAfterRiders(node: Node, deadline: number, patience: number): Promise<void> {
    if (node.riders.length > 0) await Promise.all(node.riders.map((rider) => this.shut(rider, deadline, patience)));
    if (node.attempt !== undefined) await within(this.clock, node.attempt, patience);
    if (node.state === 'open') await this.closeComponent(node, deadline);
    if (node.state !== 'failed') node.state = 'closed';
  }

  private async closeComponent(node: Node, deadline: number): Promise<void> {
    const { component } = node.managed;
    const limit = Math.max(deadline, this.clock.monotonic()) + CLOSE_GRACE;
    // An async arrow, so that a close that throws synchronously rejects like any other.
    const closing = (async () => component.close(deadline))().catch((reason: unknown) => {
      node.error = new UnavailableError(`${component.name} did not close cleanly (${foreignErrorName(reason)})`, {
        component: component.name,
        operation: 'close',
        cause: reason,
      });
    });
    if (!(await within(this.clock, closing, limit)))
      node.error = new TimeoutError(`${component.name} did not close by its deadline and was abandoned`, {
        component: component.name,
        operation: 'close',
      });
    node.state = 'closed';
  }
}

function openingError(name: string, reason: unknown): StorageError {
  if (isStorageError(reason)) return reason;
  return new UnavailableError(`${name} did not open (${foreignErrorName(reason)})`, {
    component: name,
    operation: 'open',
    cause: reason,
  });
}
