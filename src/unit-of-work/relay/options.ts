/** What a host says of a relay, with its defaults. */
import { LONGEST_DELAY } from '../../clock.js';
import type { JsonValue } from '../../backends/backend.js';
import { checkKnown, invalid, isPermanent } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';
import { checkTopic, type OutboxMessage } from '../outbox/records.js';
import type { Report } from '../ongoing-fault.js';
import { tellHost, toldTo, type DeliveryFailure } from './faults.js';

export interface DeliveryContext {
  /** Aborts when the delivery is given up: its time is over, its lease is lost, the relay stops. */
  readonly signal: AbortSignal;
  /** 1 at the first delivery; grows also when the process died during one. */
  readonly attempt: number;
  /** Fencing token: greater than that of every earlier claim of this key. */
  readonly token: number;
}

/**
 * What a handler of the library's own throws for a message that is for another process: its key is given back, again and again,
 * and no attempt is counted.
 */
export class ForAnotherProcess extends Error {}

/** Delivers a message. What it throws, or rejects with, fails the delivery. */
export type Handler<Payload = JsonValue> = (message: OutboxMessage<Payload>, context: DeliveryContext) => unknown;

/** Milliseconds doubled from `base` up to `max`; each delay is between half of that and the whole. */
export interface Backoff {
  readonly base: number;
  readonly max: number;
}

/** `Payloads`: what messages carry, by topic. */
export interface RelayOptions<Payloads = Record<string, JsonValue>> {
  /** By topic. Messages of other topics are left to other relays. */
  readonly handlers: { readonly [T in keyof Payloads]?: Handler<Payloads[T]> };
  /** The database whose outbox it is. Default: `stores.default`. */
  readonly on?: string | undefined;
  /** Keys delivered at the same time; default 10. Within a key it is one after another. */
  readonly concurrency?: number | undefined;
  /** Messages of one key read at once; default 20. */
  readonly batch?: number | undefined;
  /** Milliseconds after which another relay takes over from one that died; default 30,000. Renewed at a third. */
  readonly lease?: number | undefined;
  /** Milliseconds a handler may take; default 60,000. */
  readonly timeout?: number | undefined;
  /** Milliseconds between looks for messages of other processes, half of it up or down at random; default 1,000. */
  readonly poll?: number | undefined;
  /** Deliveries that may fail before the message is a dead letter; default 10. */
  readonly maxAttempts?: number | undefined;
  /** The wait after a failure; default `{ base: 1_000, max: 300_000 }`. */
  readonly backoff?: Partial<Backoff> | undefined;
  /**
   * Told of each failed delivery. What it throws is ignored, as of `onError`. Absent: the manager's event `error` has those that
   * made a dead letter.
   */
  readonly onFailure?: ((failure: DeliveryFailure) => void) | undefined;
  /** Told of the relay's own faults: the database cannot be reached. It goes on by itself. Absent: the manager's event `error`. */
  readonly onError?: ((error: unknown) => void) | undefined;
}

export interface RelaySettings {
  readonly handlers: ReadonlyMap<string, Handler>;
  readonly concurrency: number;
  readonly batch: number;
  readonly lease: number;
  readonly timeout: number;
  readonly poll: number;
  readonly maxAttempts: number;
  readonly backoff: Backoff;
  /** What makes a dead letter at once. */
  readonly isPermanent: (error: unknown) => boolean;
  /** What is none of the message's: it is delivered again for as long as it takes. */
  readonly isPassing: (error: unknown) => boolean;
  readonly onFailure: (failure: DeliveryFailure) => void;
  readonly onError: (error: unknown) => void;
  /** A look has succeeded after some that did not. */
  readonly onWell: () => void;
  /** Whether its tables are made where they are not there: without them nothing is due. */
  readonly makesTables: boolean;
}

const CALLBACKS = ['onFailure', 'onError'];
/** How it is delivered, whatever it is. */
export const DELIVERY_OPTIONS: readonly string[] = [
  ...['concurrency', 'batch', 'lease', 'timeout', 'poll', 'maxAttempts', 'backoff'],
  ...CALLBACKS,
];
const KEYS = new Set(['handlers', 'on', ...DELIVERY_OPTIONS]);

/** @param report is told where the options name nobody. @throws `VALIDATION` */
export function checkRelayOptions(options: unknown, report: Report): RelaySettings {
  if (!isPlainObject(options)) throw invalid('relay', options, 'an object of handlers and options');
  checkKnown(options, KEYS, 'relay');
  for (const key of CALLBACKS)
    if (options[key] !== undefined && typeof options[key] !== 'function')
      throw invalid(`relay.${key}`, options[key], 'a function');
  const { handlers, backoff = {} } = options;
  if (!isPlainObject(handlers)) throw invalid('relay.handlers', handlers, 'an object of functions by topic');
  const given = Object.entries(handlers).filter(([, handler]) => handler !== undefined);
  for (const [topic, handler] of given) {
    checkTopic(topic, `relay.handlers.${topic}`);
    if (typeof handler !== 'function') throw invalid(`relay.handlers.${topic}`, handler, 'a function');
  }
  if (given.length === 0) throw invalid('relay.handlers', handlers, 'at least one topic');
  if (!isPlainObject(backoff)) throw invalid('relay.backoff', backoff, 'an object of base and max');
  const { onFailure, onError } = options as unknown as RelayOptions;
  return {
    handlers: new Map(given as [string, Handler][]),
    concurrency: whole(options, 'concurrency', 10, 1_000),
    batch: whole(options, 'batch', 20, 1_000),
    lease: milliseconds(options['lease'], 'relay.lease', 30_000),
    timeout: milliseconds(options['timeout'], 'relay.timeout', 60_000),
    poll: milliseconds(options['poll'], 'relay.poll', 1_000),
    maxAttempts: whole(options, 'maxAttempts', 10, 1_000_000),
    backoff: {
      base: milliseconds(backoff['base'], 'relay.backoff.base', 1_000),
      max: milliseconds(backoff['max'], 'relay.backoff.max', 300_000),
    },
    isPermanent,
    isPassing: () => false,
    makesTables: true,
    ...toldTo(report),
    ...(onFailure === undefined ? {} : { onFailure: (failure) => tellHost(onFailure, failure) }),
    ...(onError === undefined ? {} : { onError: (error) => tellHost(onError, error) }),
  };
}

/** The wait before the next try, after `failures` in a row. */
export function backoffDelay({ base, max }: Backoff, failures: number): number {
  const full = Math.min(max, base * 2 ** Math.min(failures - 1, 52));
  return full / 2 + (Math.random() * full) / 2;
}

function whole(options: Record<string, unknown>, key: string, standard: number, most: number): number {
  const value = options[key] ?? standard;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1 || value > most)
    throw invalid(`relay.${key}`, value, `a whole number from 1 to ${most}`);
  return value;
}

function milliseconds(value: unknown, key: string, standard: number): number {
  if (value === undefined) return standard;
  if (typeof value !== 'number' || !(value > 0) || value > LONGEST_DELAY)
    throw invalid(key, value, 'a number of milliseconds above 0 and below 2^31');
  return value;
}
