/** `storage.subscribe`: what the stores tell, delivered at least once, by whichever process is there. */
import { isList, isPlainObject } from '../filter/json.js';
import type { CollectionHost } from '../collection/host.js';
import type { CallOptions } from '../component.js';
import { invalid, StorageError, UnsupportedError } from '../errors.js';
import { Relay, type RelayStatus } from '../unit-of-work/relay.js';
import { checkRelayOptions, type DeliveryContext, type RelayOptions } from '../unit-of-work/relay/options.js';
import type { OutboxMessage } from '../unit-of-work/outbox/records.js';
import { checkSubscription, register, subscriptionTopic, unregister } from '../unit-of-work/subscriptions.js';
import type { StoreEvent } from './events.js';
import type { StoreName, StoreSettings } from './settings.js';
import type { StoreEvents } from './types.js';

/** The stores that have events, and what the types of those begin with. */
const PREFIXES = { agents: 'agent', conversations: 'conversation', jobs: 'job', tasks: 'task' } as const;
type TellingStore = keyof typeof PREFIXES & StoreName;
const STORES = Object.keys(PREFIXES) as readonly TellingStore[];

/** An event of one of these types, with the payload of its own. */
export type StoreEventOf<T extends keyof StoreEvents> = { [K in T]: StoreEvent<K, StoreEvents[K]> }[T];

/** It succeeds, or throws: then the event is delivered again, and the later ones of its aggregate wait. */
export type EventHandler<T extends keyof StoreEvents> = (event: StoreEventOf<T>, context: DeliveryContext) => unknown;

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
  onClosing(listener: () => void): () => void;
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
  checkNames('stores', stores, STORES);
  if (types !== undefined) checkTypes(types);
  const handlers = {
    [topic]: ({ payload }: OutboxMessage, context: DeliveryContext) => handler(readEvent(payload), context),
  };
  const settings = checkRelayOptions({ ...delivery, handlers }, (error) => host.report(error));
  if (!host.settings.events.outbox)
    throw new StorageError(
      'CONFIGURATION',
      'storage.subscribe needs the setting events.outbox: true, in every process',
      {
        operation: 'subscribe',
        details: { key: 'events.outbox' },
      },
    );
  const ofTypes = types === undefined ? {} : { types: [...types].sort() };
  const wanted = databasesOf(host).map(([database, own]) => {
    const prefixes = own.filter((store) => stores?.includes(store) !== false).map((store) => PREFIXES[store]);
    return { database, prefixes };
  });
  const served = wanted.filter(({ prefixes }) => prefixes.length > 0);
  for (const { database } of served) requireTransactions(database);
  const relays: Relay[] = [];
  try {
    for (const { database, prefixes } of served) {
      await register(database, name, { prefixes, ...ofTypes }, {});
      relays.push(new Relay(database, settings, (listener) => host.onClosing(listener)));
    }
    // Where it wants nothing (any more) nothing is left for it.
    for (const { database, prefixes } of wanted)
      if (prefixes.length === 0 && hasTransactions(database)) await unregister(database, name, {});
  } catch (error) {
    await Promise.all(relays.map((relay) => relay.stop()));
    throw error;
  }
  return new Subscription(name, relays);
}

export async function unsubscribe(host: SubscriptionsHost, name: string, options: CallOptions): Promise<void> {
  checkSubscription(name);
  const databases = databasesOf(host).map(([database]) => database);
  const able = databases.filter(hasTransactions);
  if (able.length === 0) requireTransactions(databases[0]!);
  for (const database of able) await unregister(database, name, options);
}

/** Two names of one database are one. */
function databasesOf(host: SubscriptionsHost): [CollectionHost, TellingStore[]][] {
  const databases = new Map<object, [CollectionHost, TellingStore[]]>();
  for (const store of STORES) {
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

function checkTypes(types: unknown): void {
  if (!isList(types) || types.length === 0 || !types.every(isEventType))
    throw invalid('options.types', types, "types of the stores' events, as ['task.created']");
}

/** Whether a store may tell it. What comes behind the dot may be a host's own, of a task. */
export function isEventType(type: unknown): boolean {
  const [, prefix = ''] = /^([a-z]+)\.[a-z][a-z0-9_]*$/.exec(typeof type === 'string' ? type : '') ?? [];
  return Object.values<string>(PREFIXES).includes(prefix);
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
