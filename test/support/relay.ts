/** Relays over one memory, in time that is the test's. */
import { expect } from '@jest/globals';
import type { DeliveryContext, OutboxMessage, RelayOptions } from '../../src/index.js';
import { ALL } from '../../src/filter/syntax.js';
import type { StorageManager } from '../../src/manager.js';
import { OUTBOX_TABLES } from '../../src/unit-of-work/outbox/records.js';
import { ManualClock, settled } from './manual-clock.js';
import { databaseOf } from './open-parts.js';
import { sharedMemory } from './shared-memory.js';

export const LEASE = 30_000;

export interface Delivery extends DeliveryContext {
  readonly payload: unknown;
  end(): void;
  fail(error: unknown): void;
}

/** A handler whose deliveries end when the test says so. */
export function held(): { deliveries: Delivery[]; handlers: RelayOptions['handlers'] } {
  const deliveries: Delivery[] = [];
  const handler = ({ payload }: OutboxMessage, context: DeliveryContext): Promise<void> =>
    new Promise((resolve, reject) => deliveries.push({ ...context, payload, end: resolve, fail: reject }));
  return { deliveries, handlers: { mail: handler } };
}

/** Handlers that note what they get, and end at once. */
export function noting(): { seen: unknown[]; handlers: RelayOptions['handlers'] } {
  const seen: unknown[] = [];
  return { seen, handlers: { mail: async ({ payload }) => seen.push(payload) } };
}

export async function enqueueAll(storage: StorageManager, key: string, ...payloads: unknown[]): Promise<void> {
  await storage.transaction(async (tx) => {
    for (const payload of payloads) await tx.outbox.enqueue({ topic: 'mail', key, payload });
  });
}

/** From now on nothing that the manager writes arrives, as of a process that is frozen or dead. */
export function freeze(storage: StorageManager): () => void {
  const { backend } = databaseOf(storage);
  const write = backend.write.bind(backend);
  backend.write = () => Promise.reject(new Error('frozen'));
  return () => void (backend.write = write);
}

export async function left(storage: StorageManager, clock: ManualClock): Promise<number> {
  const { backend } = databaseOf(storage);
  const context = { now: clock.now(), deadline: Infinity };
  const counts = OUTBOX_TABLES.map((collection) => backend.count('all', { collection, filter: ALL }, context));
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
}

/** Lets what needs no time come to rest. */
export async function rest(): Promise<void> {
  for (let i = 0; i < 50; i++) await settled();
}

/** Advances until something has happened, by no more than `most`. */
export async function advanceUntil(clock: ManualClock, happened: () => boolean, most: number): Promise<void> {
  for (let passed = 0; passed < most && !happened(); passed += 50) await clock.advance(50);
  expect(happened()).toBe(true);
}

export async function openManagers(count = 2): Promise<{ clock: ManualClock; managers: StorageManager[] }> {
  const clock = new ManualClock();
  const open = sharedMemory(3, clock);
  const managers: StorageManager[] = [];
  for (let i = 0; i < count; i++) managers.push(await open());
  return { clock, managers };
}
