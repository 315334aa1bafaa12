/**
 * The PGlite that a host gets: it takes its turn, or its statements would run inside somebody's transaction. A transaction
 * that it begins by a statement, as query builders do, has the turn until it ends; messages of the protocol have it until
 * the one that asks whether the database is ready.
 */
import type { PGlite, Transaction } from '@electric-sql/pglite';
import { UnsupportedError, ValidationError } from '../../errors.js';
import type { Slot } from '../slot.js';

type Name = string | symbol;
type Call = (...parameters: unknown[]) => Promise<unknown>;

const names = (...all: (keyof PGlite)[]): ReadonlySet<Name> => new Set(all);

const CLOSING = names('close', Symbol.asyncDispose);
const OPERATIONS = names('query', 'sql', 'exec', 'describeQuery', 'dumpDataDir', 'clone', 'refreshArrayTypes');
/** They call the host's function. */
const SPANS = names('transaction', 'runExclusive');
/** PGlite lets these through at once, in a span too. */
const MESSAGES = names('execProtocol', 'execProtocolStream', 'execProtocolRaw', 'execProtocolRawStream');
/** Those of the protocol that stand for nothing by themselves: Parse, Bind, Describe, Execute, Close, Flush. */
const EXTENDED: ReadonlySet<string> = new Set('PBDECH');
/** With a transaction as their last parameter they are a part of it. */
const CHANNELS = names('listen', 'unlisten');

/** @param onUsed called after each of its operations: it may have changed anything. */
export function hostClient(client: PGlite, slot: Slot, component: string, onUsed: () => void): PGlite {
  const turns = new HostTurns(client, slot, onUsed);
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
      if (SPANS.has(property)) return (work: Call) => turns.run(() => call(turns.spanning(work)));
      if (MESSAGES.has(property))
        return (...parameters: unknown[]) => turns.message(parameters[0], () => call(...parameters));
      return CHANNELS.has(property) ? onChannel(turns, call) : call;
    },
  });
}

class HostTurns {
  private inTransaction = false;
  /** Whether what a message has left, a statement without a name say, is for those that follow. */
  private inMessages = false;
  private messages: Promise<void> | undefined;
  private running = 0;
  private spans = 0;

  constructor(
    private readonly client: PGlite,
    private readonly slot: Slot,
    private readonly onUsed: () => void,
  ) {}

  /** Whether the host's own transaction, or function, has the turn. */
  get ours(): boolean {
    return this.inTransaction || this.spans > 0;
  }

  async run<R>(operation: () => Promise<R>): Promise<R> {
    if (!this.inTransaction) await this.slot.acquire({ deadline: Infinity });
    return this.inTurn(operation);
  }

  message<R>(message: unknown, send: () => Promise<R>): Promise<R> {
    if (this.spans > 0) return send();
    // One after another: which of them has the turn already is known when those before have been answered.
    const begin = async (): Promise<R> => {
      if (!this.inTransaction && !this.inMessages) await this.slot.acquire({ deadline: Infinity });
      this.inMessages = !asksForReady(message);
      return this.inTurn(send);
    };
    const sent = this.messages === undefined ? begin() : this.messages.then(begin);
    const leave = (): void => {
      if (this.messages === messages) this.messages = undefined;
    };
    const messages = sent.then(leave, leave);
    this.messages = messages;
    return sent;
  }

  private async inTurn<R>(operation: () => Promise<R>): Promise<R> {
    this.running++;
    try {
      return await operation();
    } finally {
      this.onUsed();
      this.running--;
      this.inTransaction = isInTransaction(this.client);
      // What ran beside the end of the transaction has the turn too.
      if (!this.inTransaction && !this.inMessages && this.running === 0) this.slot.release();
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
