/** What writers do again and again: a unit over two collections, a store and the outbox, all of it under one id. */
import { defineCollection } from '../../../src/index.js';
import type { StorageManager } from '../../../src/manager.js';

const Orders = defineCollection<{ lane: string; n: number }>({ name: 'fault_orders', id: 'given' });
const Entries = defineCollection<{ order: string }>({ name: 'fault_entries', id: 'given' });
const NAMESPACE = 'fault-units';

export const TOPIC = 'fault';

/** How many places a whole unit is in. */
export const PARTS = 3;

/** @param key the units of a key are delivered in the order of their commits. */
export async function writeUnit(storage: StorageManager, key: string, lane: string, n: number): Promise<void> {
  const id = unitId(lane, n);
  await storage.transaction(async (tx) => {
    await tx.collection(Orders).insert({ lane, n }, { id });
    await tx.kv.set(NAMESPACE, id, n);
    await tx.outbox.enqueue({ topic: TOPIC, key, payload: { lane, n }, idempotencyKey: id });
    await tx.collection(Entries).insert({ order: id }, { id });
  });
}

export const unitId = (lane: string, n: number): string => `${lane}:${n}`;

/** In how many of its places each unit is. */
export async function readUnits(storage: StorageManager): Promise<Map<string, number>> {
  const parts = new Map<string, number>();
  const found = (id: string): unknown => parts.set(id, (parts.get(id) ?? 0) + 1);
  for (const definition of [Orders, Entries])
    for await (const { id } of storage.collection<unknown>(definition).each()) found(id);
  let after: string | undefined;
  do {
    const page = await storage.kv.list(NAMESPACE, { limit: 100, ...(after === undefined ? {} : { after }) });
    for (const { key } of page.items) found(key);
    after = page.next;
  } while (after !== undefined);
  return parts;
}
