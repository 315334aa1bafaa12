/** Below the surface of an open manager: its database, for what no host can reach. */
import { ALL } from '../../src/filter/syntax.js';
import type { Database } from '../../src/database.js';
import { deliveryHandlers, type DeliveryTargets } from '../../src/delivery/handlers.js';
import { deliveryTargets } from '../../src/dispatcher.js';
import type { StorageManager } from '../../src/manager.js';
import type { OpenParts } from '../../src/opening.js';
import type { Transaction } from '../../src/storage.js';
import { MESSAGES, readMessage } from '../../src/unit-of-work/outbox/records.js';

interface Inside {
  parts(): OpenParts;
  hostOutside(
    parts: OpenParts,
    ...of: Parameters<DeliveryTargets['storeHost']>
  ): ReturnType<DeliveryTargets['storeHost']>;
}

const inside = (storage: StorageManager): Inside => storage as unknown as Inside;

export function databaseOf(storage: StorageManager, name = 'main'): Database {
  return inside(storage).parts().databases.get(name)!;
}

/**
 * What `work` leaves to be delivered, in its order: each to be delivered as often as the test likes, as by a relay that dies
 * before it can note that it has.
 */
export async function redeliver(
  storage: StorageManager,
  work: (tx: Transaction) => Promise<void>,
): Promise<((attempt: number) => Promise<void>)[]> {
  const { backend } = databaseOf(storage);
  const handlers = deliveryHandlers(
    deliveryTargets(inside(storage).parts(), (name, tenant) =>
      inside(storage).hostOutside(inside(storage).parts(), name, tenant),
    ),
  );
  const context = { now: new Date(), deadline: performance.now() + 60_000 };
  const sort = [{ source: 'envelope', path: ['id'], type: 'string', direction: 'asc' }] as const;
  const request = { collection: MESSAGES, filter: ALL, sort, limit: 1_000 };
  await storage.transaction(work);
  const found = await backend.find('all', request, context);
  return found.map((record) => {
    const message = readMessage(record);
    const delivery = { signal: new AbortController().signal, token: 1 };
    return async (attempt) => void (await handlers[message.topic]!(message, { ...delivery, attempt }));
  });
}
