/** How what a transaction left to be delivered is done: once, however often its message is delivered. */
import type { JsonObject, JsonValue, RecordSchema, Write, WriteResult } from '../backends/backend.js';
import { STORES } from '../adapters/factory.js';
import { STORE_NAMES, type StoreName } from '../adapters/settings.js';
import type { StoreHost } from '../adapters/host.js';
import { Collection } from '../collection/collection.js';
import { runOperation, type CollectionHost } from '../collection/host.js';
import type { OperationContext } from '../component.js';
import {
  ConflictError,
  isStorageError,
  NotFoundError,
  UnavailableError,
  ValidationError,
  type StorageError,
} from '../errors.js';
import { DELIVERED, DELIVERED_FOR } from '../unit-of-work/delivered.js';
import type { OutboxMessage } from '../unit-of-work/outbox/records.js';
import type { Handler } from '../unit-of-work/relay/options.js';
import type { VectorStore } from '../vectors/vector-store.js';
import type { VectorRecord } from '../vectors/vector-store/options.js';
import { decodeCall } from './call.js';
import { requireAtomic, topicOf } from './message.js';
import { decodeWrite } from './records.js';
import { DELIVERABLE, operationOf } from './stores.js';
import type { DeliveredVector } from './vectors.js';

/** Of a tenant. */
export interface DeliveryTargets {
  storeHost(name: StoreName, tenant: string): StoreHost;
  records(database: string, tenant: string): CollectionHost;
  /** As this process declares it, once it has. */
  declarationOf(database: string, collection: string): RecordSchema | undefined;
  vectors(provider: string, tenant: string): VectorStore;
}

/** What the same call would be refused for again, however often: it is a dead letter at once. */
const HOPELESS: ReadonlySet<string> = new Set(['ALREADY_EXISTS', 'NOT_A_NUMBER', 'UNSUPPORTED']);

export function isHopeless(error: unknown): boolean {
  return isStorageError(error) && HOPELESS.has(error.code);
}

/** What is none of the delivery's: where it goes cannot be reached, or is not open. */
export function isPassing(error: unknown): boolean {
  return isStorageError(error) && (error.retryable ? error.code !== 'CONFLICT' : error.code === 'CLOSED');
}

export function deliveryHandlers(targets: DeliveryTargets): Record<string, Handler> {
  const stores = STORE_NAMES.map((name): [string, Handler] => [
    topicOf(name),
    async (message) => deliverCall(targets.storeHost(name, message.tenant), name, message),
  ]);
  return {
    ...Object.fromEntries(stores),
    [topicOf('records')]: (message) => deliverWrite(targets, message),
    [topicOf('vectors')]: (message) => deliverVector(targets, message),
  };
}

async function deliverCall(host: StoreHost, name: StoreName, { id, payload }: OutboxMessage): Promise<void> {
  const { operation, arguments: call } = payload as { readonly operation: string; readonly arguments: JsonValue[] };
  if (!(DELIVERABLE[name] as readonly string[]).includes(operation)) throw unknownHere(`${name}.${operation}`);
  await once(host, id, () => operationOf(new STORES[name](marking(host, id)), operation)(...decodeCall(call)));
}

/**
 * Does what leaves the delivery's mark, unless the mark is there; also when it is refused because another who delivers it was
 * faster, which may show as a refusal of any kind.
 */
async function once(host: CollectionHost, id: string, deliver: () => Promise<unknown>): Promise<void> {
  const marks = new Collection(DELIVERED, host);
  if (await marks.has(id)) return;
  // Only an open database knows: it may have been accepted while this one was not there.
  requireAtomic(host.backend, 'deliver');
  try {
    await deliver();
  } catch (error) {
    if (!(await marks.has(id))) throw error;
  }
}

/** The decision's batch leaves the delivery's mark, also where it is written within a transaction. */
function marking(host: StoreHost, delivery: string): StoreHost {
  return {
    ...host,
    delivery,
    transaction: (options, work) => host.transaction(options, (inside) => work({ ...inside, delivery })),
  };
}

async function deliverWrite(targets: DeliveryTargets, { id, tenant, payload }: OutboxMessage): Promise<void> {
  const { database, write: left } = decodeWrite(payload);
  const host = targets.records(database, tenant);
  const { name } = left.collection;
  // Who left it may be of another version.
  const write: Write = { ...left, collection: targets.declarationOf(database, name) ?? left.collection };
  const deliver = async (context: OperationContext): Promise<void> => {
    const expiresAt = new Date(context.now.getTime() + DELIVERED_FOR);
    const mark = { collection: DELIVERED.schema, kind: 'insert', id, value: {}, expiresAt } as const;
    const [written, marked] = await host.backend.write({ tenant }, [write, mark], context);
    if (marked?.status === 'exists') return;
    // Nothing of the batch was written: without a mark, a second delivery would delete what has been made since.
    if (write.kind === 'delete' && written?.status === 'missing') {
      await host.backend.write({ tenant }, [mark], context);
      return;
    }
    const failure = failureOf(written!, `${name} ${JSON.stringify(write.id)} on ${database}`);
    if (failure !== undefined) throw failure;
  };
  await once(host, id, () => runOperation(host, [write.collection, DELIVERED.schema], 'deliver', undefined, deliver));
}

function failureOf({ status }: WriteResult, what: string): StorageError | undefined {
  const options = { operation: 'deliver' };
  switch (status) {
    case 'written':
    case 'patched':
    case 'deleted':
      return undefined;
    case 'missing':
      return new NotFoundError(`${what} is not there`, options);
    case 'exists':
      return new ConflictError('ALREADY_EXISTS', `${what} is there already`, options);
    default:
      return new ValidationError('VALIDATION', `${what}: the change does not fit what is there (${status})`, options);
  }
}

/** Writing a record again as it is, or deleting it again, changes nothing: it leaves no mark. */
async function deliverVector(targets: DeliveryTargets, { tenant, payload }: OutboxMessage): Promise<void> {
  const { provider, collection, namespace, record, id } = payload as unknown as DeliveredVector;
  const vectors = targets.vectors(provider, tenant);
  const options = namespace === '' ? {} : { namespace };
  if (record === undefined) {
    await vectors.delete(collection, { ids: [id!] }, options);
    return;
  }
  const [decoded] = decodeCall([record]) as [VectorRecord<JsonObject>];
  await vectors.upsert(collection, [decoded], options);
}

/** Another process with another version of this library, or with other settings, may know it. */
export function unknownHere(what: string): UnavailableError {
  return new UnavailableError(`${what} is not known to this process, which was to deliver to it`, {
    operation: 'deliver',
  });
}
