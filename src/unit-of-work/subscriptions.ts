/**
 * Durable subscriptions to events: a record of each, read by every transaction that has events, which leaves a message for
 * each subscription that wants one, under a topic of its own. So a subscription gets the events of the transactions that begin
 * after it is there, and where there is none nothing is kept.
 */
import type { JsonObject, RecordSchema, Stored, Write } from '../backends/backend.js';
import { equals, orderBy } from '../collection/conditions.js';
import { runOperation, type CollectionHost } from '../collection/host.js';
import { LIBRARY } from '../collection/library.js';
import { deletePage } from '../collection/page.js';
import type { CallOptions, OperationContext } from '../component.js';
import { invalid, StorageError } from '../errors.js';
import { ALL } from '../filter/syntax.js';
import type { TransactionOutbox } from './outbox/enqueue.js';
import { KEYS, LANES, MESSAGES, OUTBOX_TABLES } from './outbox/records.js';

/** By their names. */
const SUBSCRIPTIONS: RecordSchema = {
  name: 'qm_subscriptions',
  fields: new Map(),
  indexes: [],
  unique: [],
  text: [],
};
const BY_ID = [{ source: 'envelope', path: ['id'], type: 'string', direction: 'asc' }] as const;
const NAME = /^[a-z][a-z0-9_.-]{0,50}$/;
/** Those that there may be: read by every transaction with events. */
const MOST = 1_000;
const BATCH = 100;

/** What a subscription wants of a database. */
export interface Wanted {
  /** What a type of event begins with: `task` of `task.created`. */
  readonly prefixes: readonly string[];
  /** Absent: every type. */
  readonly types?: readonly string[];
}

export interface PublishedEvent {
  readonly type: string;
  /** Its events are delivered in their order. */
  readonly aggregateId: string;
}

/** @throws `VALIDATION` */
export function checkSubscription(name: unknown): string {
  if (typeof name !== 'string' || !NAME.test(name))
    throw invalid('name', name, 'a name of the form [a-z][a-z0-9_.-]{0,50}');
  return name;
}

export function subscriptionTopic(name: string): string {
  return `subscription.${name}`;
}

/**
 * Of another call's, the latest stands. @returns whether there was none before
 * @throws `QUOTA_EXCEEDED` for one beyond 1,000: each costs every transaction with events
 */
export async function register(
  host: CollectionHost,
  name: string,
  { prefixes, types }: Wanted,
  options: CallOptions,
): Promise<boolean> {
  const value = { prefixes, ...(types === undefined ? {} : { types }) };
  return runOperation(host, [SUBSCRIPTIONS], 'subscribe', options, async (context) => {
    const known = await find(host, name, context);
    // Every transaction with events reads it: it is not written for nothing.
    if (known !== undefined && JSON.stringify(wantedOf(known)) === JSON.stringify(value)) return false;
    if (known === undefined && (await countAll(host, context)) >= MOST)
      throw new StorageError('QUOTA_EXCEEDED', `The database has ${MOST} subscriptions, the most there may be`, {
        component: host.backend.name,
        operation: 'subscribe',
        details: { limit: MOST },
      });
    await host.backend.write(LIBRARY, [{ collection: SUBSCRIPTIONS, id: name, kind: 'put', value }], context);
    return known === undefined;
  });
}

export function isRegistered(host: CollectionHost, name: string): Promise<boolean> {
  return runOperation(
    host,
    [SUBSCRIPTIONS],
    'subscribe',
    undefined,
    async (context) => (await find(host, name, context)) !== undefined,
  );
}

async function find({ backend }: CollectionHost, name: string, context: OperationContext): Promise<Stored | undefined> {
  return (await backend.read(LIBRARY, [{ collection: SUBSCRIPTIONS, id: name }], context))[0];
}

function countAll({ backend }: CollectionHost, context: OperationContext): Promise<number> {
  return backend.count(LIBRARY, { collection: SUBSCRIPTIONS, filter: ALL }, context);
}

export function wants({ prefixes, types }: Wanted, type: string): boolean {
  return prefixes.includes(type.slice(0, type.indexOf('.'))) && types?.includes(type) !== false;
}

/** Whether the subscription wants it of this database, by its record as it is now. */
export function isWanted(host: CollectionHost, name: string, type: string, options: CallOptions): Promise<boolean> {
  return runOperation(host, [SUBSCRIPTIONS], 'subscribe', options, async (context) => {
    const known = await find(host, name, context);
    return known !== undefined && wants(wantedOf(known), type);
  });
}

/** In the transaction of the events. */
export async function publish(
  host: CollectionHost,
  outbox: TransactionOutbox,
  events: readonly PublishedEvent[],
): Promise<void> {
  const request = { collection: SUBSCRIPTIONS, filter: ALL, sort: BY_ID, limit: MOST };
  const subscriptions = await runOperation(host, [SUBSCRIPTIONS], 'publish', undefined, (context) =>
    host.backend.find(LIBRARY, request, context),
  );
  const messages = subscriptions.flatMap((subscription) => {
    const wanted = wantedOf(subscription);
    const topic = subscriptionTopic(subscription.id);
    return events
      .filter(({ type }) => wants(wanted, type))
      .map((event) => ({ topic, key: event.aggregateId, payload: event }));
  });
  await outbox.leave(messages, () => 'event');
}

/** Ends a subscription, and deletes what waits for it, dead letters too. */
export async function unregister(host: CollectionHost, name: string, options: CallOptions): Promise<void> {
  const { backend } = host;
  const filter = equals('topic', subscriptionTopic(name));
  await runOperation(host, [SUBSCRIPTIONS], 'unsubscribe', options, (context) =>
    backend.write(LIBRARY, [{ collection: SUBSCRIPTIONS, id: name, kind: 'delete', returns: false }], context),
  );
  for (let lanes: Stored[] = []; ;) {
    lanes = await runOperation(host, OUTBOX_TABLES, 'unsubscribe', options, (context) =>
      backend.find('all', { collection: LANES, filter, sort: orderBy('dueAt', 'date'), limit: BATCH }, context),
    );
    for (const lane of lanes) await deleteLane(host, lane, options);
    if (lanes.length < BATCH) return;
  }
}

/** A message that commits meanwhile makes another version of the lane's key: then it is looked at again. */
async function deleteLane(host: CollectionHost, lane: Stored, options: CallOptions): Promise<void> {
  const { backend } = host;
  const scope = { tenant: lane.tenant };
  const keyId = lane.value['keyId'] as string;
  for (let isGone = false; !isGone;)
    isGone = await runOperation(host, OUTBOX_TABLES, 'unsubscribe', options, async (context) => {
      const [key] = await backend.read(scope, [{ collection: KEYS, id: keyId }], context);
      const request = { collection: MESSAGES, filter: equals('lane', lane.id), limit: BATCH };
      for (let met = BATCH; met === BATCH;)
        met =
          (await backend.deleteMany?.(scope, request, context)) ??
          (await deletePage(backend, scope, request, context)).met;
      const writes: Write[] = [{ collection: LANES, id: lane.id, kind: 'delete', returns: false }];
      if (key?.value['lane'] === lane.id)
        writes.push({ collection: KEYS, id: keyId, kind: 'delete', returns: false, ifVersion: key.version });
      const results = await backend.write(scope, writes, context);
      // A relay that had it at work has deleted it.
      return results[0]!.status === 'missing' || results.every(({ status }) => status === 'deleted');
    });
}

function wantedOf({ value }: Stored<JsonObject>): Wanted {
  const { prefixes, types } = value as unknown as Wanted;
  return types === undefined ? { prefixes } : { prefixes, types };
}
