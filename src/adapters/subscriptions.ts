/** `storage.subscribe`: what the stores tell, delivered at least once, by whichever process is there. */
import { isList, isPlainObject } from '../filter/json.js';
import type { CollectionHost } from '../collection/host.js';
import type { BeginLoop, CallOptions } from '../component.js';
import { invalid, StorageError, UnsupportedError } from '../errors.js';
import { Relay, type RelayStatus } from '../unit-of-work/relay.js';
import {
  checkRelayOptions,
  ForAnotherProcess,
  type DeliveryContext,
  type Handler,
  type RelayOptions,
} from '../unit-of-work/relay/options.js';
import type { OutboxMessage } from '../unit-of-work/outbox/records.js';
import {
  checkSubscription,
  isRegistered,
  isWanted,
  register,
  subscriptionTopic,
  unregister,
  wants,
  type Wanted,
} from '../unit-of-work/subscriptions.js';
import { checkEventTypes, TELLING_STORES, type TellingStore } from './event-types.js';
import type { StoreEvent } from './events.js';
import type { StoreSettings } from './settings.js';
import type { StoreEvents } from './types.js';

/** An event of one of these types, with the payload of its own. */
export type StoreEventOf<T extends keyof StoreEvents> = { [K in T]: StoreEvent<K, StoreEvents[K]> }[T];

export interface EventContext extends DeliveryContext {
  /** The same at every delivery of this event to this subscription, and no other's: an event's `id` may be another tenant's too. */
  readonly idempotencyKey: string;
}

/** It succeeds, or throws: then the event is delivered again, and the later ones of its aggregate wait. */
export type EventHandler<T extends keyof StoreEvents> = (event: StoreEventOf<T>, context: EventContext) => unknown;

export interface SubscribeOptions<T extends keyof StoreEvents> extends Omit<RelayOptions, 'handlers' | 'on'> {
  /** Default: every type of the stores. */
  readonly types?: readonly T[] | undefined;
  /** Default: every store that has events. */
  readonly stores?: readonly TellingStore[] | undefined;
}

/** What it stands on: the manager gives it. */
export interface SubscriptionsHost {
  readonly settings: StoreSettings;
  /** The reserved tenant's, on the database of a store. */
  of(store: TellingStore): CollectionHost;
  readonly beginLoop: BeginLoop;
  report(error: StorageError): void;
}

/** This process's part in a subscription. */
export class Subscription {
  constructor(
    readonly name: string,
    private readonly relays: readonly Relay[],
  ) {}

  /** Of all databases together. */
  status(): RelayStatus {
    const each = this.relays.map((relay) => relay.status());
    const sum = (key: 'inFlight' | 'delivered' | 'failed' | 'dead'): number =>
      each.reduce((total, status) => total + status[key], 0);
    const state = (['stopping', 'running', 'stopped'] as const).find((one) =>
      each.some((status) => status.state === one),
    );
    return {
      state: state ?? 'stopped',
      ...{ inFlight: sum('inFlight'), delivered: sum('delivered'), failed: sum('failed'), dead: sum('dead') },
    };
  }

  /** As a relay's: the subscription stays, and its events wait for the next `subscribe` of any process. */
  async stop(options?: { readonly deadline?: number | undefined }): Promise<void> {
    await Promise.all(this.relays.map((relay) => relay.stop(options)));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

export async function subscribe<T extends keyof StoreEvents>(
  host: SubscriptionsHost,
  name: string,
  handler: EventHandler<T>,
  options: SubscribeOptions<T>,
): Promise<Subscription> {
  const topic = subscriptionTopic(checkSubscription(name));
  if (typeof handler !== 'function') throw invalid('handler', handler, 'a function');
  if (!isPlainObject(options)) throw invalid('options', options, 'an object');
  const { types, stores, ...delivery } = options as SubscribeOptions<T>;
  checkNames('stores', stores, Object.keys(TELLING_STORES));
  if (types !== undefined) checkEventTypes(types, stores, 'options.types');
  const ofTypes = types === undefined ? {} : { types: [...types].sort() };
  const all = databasesOf(host).map(([database, own]) => {
    const prefixes = own.filter((store) => stores?.includes(store) !== false).map((store) => TELLING_STORES[store]);
    const wanted: Wanted = { prefixes, ...ofTypes };
    const handlers = { [topic]: handlerOf(database, name, wanted, handler) };
    const settings = checkRelayOptions({ ...delivery, handlers }, (error) => host.report(error));
    return { database, wanted, settings };
  });
  if (!host.settings.events.outbox)
    throw new StorageError(
      'CONFIGURATION',
      'storage.subscribe needs the setting events.outbox: true, in every process',
      {
        operation: 'subscribe',
        details: { key: 'events.outbox' },
      },
    );
  const served = all.filter(({ wanted }) => wanted.prefixes.length > 0);
  for (const { database } of served) requireTransactions(database);
  const able = all.filter(({ database }) => hasTransactions(database));
  // Where one is down the others are left as they are: nobody would serve what they would leave.
  if (able.length > 1) await Promise.all(able.map(({ database }) => isRegistered(database, name)));
  const made: CollectionHost[] = [];
  try {
    for (const { database, wanted } of served) if (await register(database, name, wanted, {})) made.push(database);
    // Where it wants nothing (any more) nothing is left for it.
    for (const { database, wanted } of able) if (wanted.prefixes.length === 0) await unregister(database, name, {});
  } catch (error) {
    await Promise.allSettled(made.map((database) => unregister(database, name, {})));
    throw error;
  }
  return new Subscription(
    name,
    served.map(({ database, settings }) => new Relay(database, settings, host.beginLoop)),
  );
}

/**
 * Processes of one name may want other events: those that came first do not know what the latest call wants. What this process
 * does not want never reaches its handler: it is left to the others while the subscription wants it, and else nobody's.
 */
function handlerOf<T extends keyof StoreEvents>(
  database: CollectionHost,
  name: string,
  own: Wanted,
  handler: EventHandler<T>,
): Handler {
  return async ({ payload, idempotencyKey }, context) => {
    const event = readEvent<T>(payload);
    if (!wants(own, event.type)) {
      const { signal } = context;
      // Where it cannot be read, nobody knows that the event is nobody's.
      if (await isWanted(database, name, event.type, { signal }).catch(() => true)) throw new ForAnotherProcess();
      return;
    }
    const { attempt, token } = context;
    await handler(event, {
      // Made when it is asked for.
      get signal() {
        return context.signal;
      },
      ...{ attempt, token, idempotencyKey },
    });
  };
}

export async function unsubscribe(host: SubscriptionsHost, name: string, options: CallOptions): Promise<void> {
  checkSubscription(name);
  const databases = databasesOf(host).map(([database]) => database);
  const able = databases.filter(hasTransactions);
  if (able.length === 0) requireTransactions(databases[0]!);
  const ended = await Promise.allSettled(able.map((database) => unregister(database, name, options)));
  for (const each of ended) if (each.status === 'rejected') throw each.reason;
}

/** Two names of one database are one. */
function databasesOf(host: SubscriptionsHost): [CollectionHost, TellingStore[]][] {
  const databases = new Map<object, [CollectionHost, TellingStore[]]>();
  for (const store of Object.keys(TELLING_STORES) as TellingStore[]) {
    const database = host.of(store);
    const known = databases.get(database.backend.pool);
    if (known === undefined) databases.set(database.backend.pool, [database, [store]]);
    else known[1].push(store);
  }
  return [...databases.values()];
}

function hasTransactions({ backend }: Pick<CollectionHost, 'backend'>): boolean {
  return backend.capabilities.transactions !== 'none';
}

function requireTransactions({ backend }: CollectionHost): void {
  if (!hasTransactions({ backend }))
    throw new UnsupportedError(`${backend.name} has no transactions, and so no subscriptions`, {
      operation: 'subscribe',
    });
}

function checkNames(key: string, names: unknown, known: readonly unknown[]): void {
  if (names === undefined) return;
  if (!isList(names) || names.length === 0 || !names.every((name) => known.includes(name)))
    throw invalid(`options.${key}`, names, `some of ${known.join(', ')}`);
}

function readEvent<T extends keyof StoreEvents>(payload: OutboxMessage['payload']): StoreEventOf<T> {
  const { createdAt, ...event } = payload as { readonly createdAt: string };
  return { ...event, createdAt: new Date(createdAt) } as unknown as StoreEventOf<T>;
}
