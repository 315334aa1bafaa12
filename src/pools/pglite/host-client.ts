/**
 * The PGlite that a host gets: it takes its turn, or its statements would run inside somebody's transaction. A transaction
 * that it begins by a statement, as query builders do, has the turn until it ends; messages of the protocol have it until
 * the one that asks whether the database is ready, which is sent for a host that does not.
 */
import type { PGlite, Transaction } from '@electric-sql/pglite';
import type { Clock, Timer } from '../../clock.js';
import { UnsupportedError, ValidationError } from '../../errors.js';
import type { Slot } from '../slot.js';
import { stopsTheEngine } from './errors.js';

type Name = string | symbol;
type Call = (...parameters: unknown[]) => Promise<unknown>;

const names = (...all: (keyof PGlite)[]): ReadonlySet<Name> => new Set(all);

const CLOSING = names('close', Symbol.asyncDispose);
const OPERATIONS = names('query', 'sql', 'exec', 'describeQuery', 'dumpDataDir', 'clone', 'refreshArrayTypes');
/** They call the host's function. */
const SPANS = names('transaction', 'runExclusive');
/** PGlite lets these through at once, in a span too. */
const SENDING = names('execProtocol', 'execProtocolStream', 'execProtocolRaw', 'execProtocolRawStream');
/** Those of the protocol that stand for nothing by themselves: Parse, Bind, Describe, Execute, Close, Flush. */
const EXTENDED: ReadonlySet<string> = new Set('PBDECH');
/** Until it comes the engine passes over everything that follows an error. */
const SYNC = Uint8Array.of('S'.charCodeAt(0), 0, 0, 0, 4);
/** Milliseconds after the last of messages that no Sync has ended, before one is sent for them. */
const SYNC_PATIENCE = 3_000;
/** With a transaction as their last parameter they are a part of it. */
const CHANNELS = names('listen', 'unlisten');

export interface HostClientOptions {
  readonly slot: Slot;
  readonly clock: Clock;
  readonly component: string;
  /** Called after each of its operations: it may have changed anything. */
  readonly onUsed: () => void;
}

export function hostClient(client: PGlite, options: HostClientOptions): PGlite {
  const { component } = options;
  const turns = new HostTurns(client, options);
  const refuseClosing = (): Promise<never> =>
    Promise.reject(new ValidationError('VALIDATION', 'The database is closed by its manager', { component }));
  return new Proxy(client, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== 'function') return value;
      if (CLOSING.has(property)) return refuseClosing;
      const call = value.bind(target) as Call;
      if (property === 'execProtocolRawSync') return synchronous(turns, component, call);
      if (OPERATIONS.has(property)) return (...parameters: unknown[]) => turns.run(() => call(...parameters));
      if (SPANS.has(property)) return (work: Call) => turns.runAlone(() => call(turns.spanning(work)));
      if (SENDING.has(property))
        return (...parameters: unknown[]) => turns.send(parameters[0], () => call(...parameters));
      return CHANNELS.has(property) ? onChannel(turns, call) : call;
    },
  });
}

class HostTurns {
  private inTransaction = false;
  /** Whether messages have the turn: what they have left, a statement without a name say, is for those that follow. */
  private awaitsSync = false;
  private syncTimer: Timer | undefined;
  /** Settled when every message so far has been answered. */
  private answered: Promise<void> | undefined;
  private running = 0;
  private spans = 0;
  /** Each begins a call that waits for the turn, within a transaction that the host has begun. In the order of the calls. */
  private readonly joining = new Set<() => void>();

  constructor(
    private readonly client: PGlite,
    private readonly options: HostClientOptions,
  ) {}

  /** Whether the host's own transaction, or function, has the turn. */
  get ours(): boolean {
    return this.inTransaction || this.spans > 0;
  }

  async run<R>(operation: () => Promise<R>): Promise<R> {
    if (this.inTransaction || this.options.slot.tryAcquire()) return this.inTurn(operation);
    const waiting = new AbortController();
    let joined: Promise<R> | undefined;
    // The BEGIN before it may be waiting for it, and for the COMMIT after it: the host has sent them all at once.
    const join = (): void => {
      joined = this.inTurn(operation);
      waiting.abort();
    };
    this.joining.add(join);
    try {
      await this.options.slot.acquire({ deadline: Infinity, signal: waiting.signal });
    } catch (error) {
      if (joined === undefined) throw error;
      return await joined;
    } finally {
      this.joining.delete(join);
    }
    return this.inTurn(operation);
  }

  /** As `run`, of what is no part of a transaction that the host begins while it waits. */
  async runAlone<R>(operation: () => Promise<R>): Promise<R> {
    if (!this.inTransaction) await this.options.slot.acquire({ deadline: Infinity });
    return this.inTurn(operation);
  }

  send<R>(bytes: unknown, operation: () => Promise<R>): Promise<R> {
    return this.spans > 0 ? operation() : this.inOrder(bytes, operation);
  }

  /** One after another: which of them has the turn already is known when those before have been answered. */
  private inOrder<R>(bytes: unknown, operation: () => Promise<R>): Promise<R> {
    this.syncTimer?.cancel();
    const message = (): Promise<R> => {
      this.awaitsSync = !asksForReady(bytes);
      return operation();
    };
    const begin = (): Promise<R> => (this.awaitsSync ? this.inTurn(message) : this.run(message));
    const sent = this.answered === undefined ? begin() : this.answered.then(begin);
    const leave = (patience: number | undefined): void => {
      if (this.answered !== answered) return;
      this.answered = undefined;
      if (this.awaitsSync && patience !== undefined) this.syncAfter(patience);
    };
    const answered = sent.then(
      () => leave(SYNC_PATIENCE),
      // A host that sends one for what has failed does so at once. An engine that has stopped must not be asked any more.
      (error: unknown) => leave(stopsTheEngine(error) ? undefined : 0),
    );
    this.answered = answered;
    return sent;
  }

  private syncAfter(patience: number): void {
    const sync = (): void => {
      // It fails when the database was closed meanwhile.
      this.inOrder(SYNC, () => this.client.execProtocolRaw(SYNC)).catch(() => undefined);
    };
    this.syncTimer = this.options.clock.after(patience, sync, { background: true });
  }

  private async inTurn<R>(operation: () => Promise<R>): Promise<R> {
    this.running++;
    try {
      return await operation();
    } finally {
      this.options.onUsed();
      this.running--;
      this.inTransaction = isInTransaction(this.client);
      if (this.inTransaction && !this.awaitsSync) this.joinAll();
      // What ran beside the end of the transaction has the turn too.
      if (!this.inTransaction && !this.awaitsSync && this.running === 0) this.options.slot.release();
    }
  }

  /** What the host has asked since it sent its BEGIN is a part of that transaction, as it is on a client of its own. */
  private joinAll(): void {
    for (const join of this.joining) {
      this.joining.delete(join);
      join();
    }
  }

  spanning(work: Call): Call {
    return async (...parameters) => {
      this.spans++;
      try {
        return await work(...parameters);
      } finally {
        this.spans--;
      }
    };
  }
}

function onChannel(turns: HostTurns, call: Call) {
  const within = <R>(tx: Transaction | undefined, operation: () => Promise<R>): Promise<R> =>
    tx === undefined ? turns.run(operation) : operation();
  return async (channel: string, callback: unknown, tx?: Transaction): Promise<unknown> => {
    const end = await within(tx, () => call(channel, callback, tx));
    if (typeof end !== 'function') return end;
    return (inside?: Transaction) => within(inside, () => (end as Call)(inside));
  };
}

function synchronous(turns: HostTurns, component: string, call: (...parameters: unknown[]) => unknown) {
  return (...parameters: unknown[]): unknown => {
    if (turns.ours) return call(...parameters);
    throw new UnsupportedError('execProtocolRawSync cannot wait for its turn: call it within runExclusive', {
      component,
    });
  };
}

/** Whether the last message in these bytes is one that the database answers by saying that it is ready: Query, Sync. */
function asksForReady(bytes: unknown): boolean {
  // What is no message PGlite refuses.
  if (!(bytes instanceof Uint8Array)) return true;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let last = '';
  for (let at = 0; at + 5 <= bytes.length; at += 1 + Math.max(4, view.getUint32(at + 1)))
    last = String.fromCharCode(view.getUint8(at));
  return !EXTENDED.has(last);
}

function isInTransaction(client: PGlite): boolean {
  try {
    return !client.closed && client.isInTransaction();
  } catch {
    // The engine has stopped.
    return false;
  }
}
