/** Loops over what is written, and listeners: they end when they are told to, cost only their own, and have what they get for themselves. */
import { expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { getEventListeners } from 'node:events';
import diagnostics_channel from 'node:diagnostics_channel';
import { openStorage, type StorageManager, type StoreEvent } from '../../src/index.js';
import { EventBus } from '../../src/adapters/events.js';
import { settled } from '../support/manual-clock.js';

const open = (): Promise<StorageManager> => openStorage({ databases: { main: 'memory:' } }, { environment: {} });
/** No look by time comes into a test. */
const NEVER = { interval: 3_600_000 };

const LOOPS: readonly [string, (storage: StorageManager, id: string) => AsyncGenerator<unknown, void, undefined>][] = [
  ['watchEvents', ({ conversations }, id) => conversations.watchEvents(id, NEVER)],
  ['tail', ({ conversations }, id) => conversations.tail(id, NEVER)],
];

test.each(LOOPS)('%s ends while it waits', async (_name, begin) => {
  await using storage = await open();
  const id = randomUUID();
  const loop = begin(storage, id);
  const [first, second] = [loop.next(), loop.next()];
  await settled();
  expect(await loop.return()).toEqual({ done: true, value: undefined });
  expect(await Promise.all([first, second, loop.next()])).toEqual(
    Array.from({ length: 3 }, () => ({ done: true, value: undefined })),
  );
  let reads = 0;
  const count = (): void => void reads++;
  diagnostics_channel.subscribe('quartermaster:operation', count);
  try {
    await storage.conversations.ensureConversation(id);
    const own = reads;
    await settled();
    expect(reads).toBe(own);
  } finally {
    diagnostics_channel.unsubscribe('quartermaster:operation', count);
  }
});

test.each(LOOPS)('%s ends with what is thrown into it while it waits', async (_name, begin) => {
  await using storage = await open();
  const loop = begin(storage, randomUUID());
  const next = loop.next();
  await settled();
  await expect(loop.throw(new Error('enough'))).rejects.toThrow('enough');
  expect(await next).toEqual({ done: true, value: undefined });
});

test.each(LOOPS)('%s ends before it has begun, and when it is disposed of', async (_name, begin) => {
  await using storage = await open();
  const ended = begin(storage, randomUUID());
  await ended.return();
  expect(await ended.next()).toEqual({ done: true, value: undefined });
  const disposed = begin(storage, randomUUID());
  const next = disposed.next();
  await disposed[Symbol.asyncDispose]();
  expect(await next).toEqual({ done: true, value: undefined });
});

test('a loop leaves nothing with the signal that it was given', async () => {
  await using storage = await open();
  const stop = new AbortController();
  const listening = (): number => getEventListeners(stop.signal, 'abort').length;
  const loop = storage.agents.watchEvents('a', { ...NEVER, signal: stop.signal });
  const next = loop.next();
  await settled();
  expect(listening()).toBe(1);
  await loop.return();
  await next;
  expect(listening()).toBe(0);
});

test('an event wakes those who wait for its aggregate or its type, and no others', () => {
  const bus = new EventBus(() => undefined);
  const woken: string[] = [];
  const stops = ['a', 'b', 'task.created', 'task.deleted', 'a'].map((of, i) =>
    bus.watch(of, (type) => woken.push(`${of} ${i} ${type}`)),
  );
  const event = { id: 'a:1000', seq: 1_000, type: 'task.created', aggregateId: 'a', tenantId: 't', payload: {} };
  bus.emit({ ...event, createdAt: new Date() });
  expect(woken.splice(0)).toEqual(['a 0 task.created', 'a 4 task.created', 'task.created 2 task.created']);
  for (const stop of stops) {
    stop();
    stop();
  }
  bus.emit({ ...event, createdAt: new Date() });
  expect(woken).toEqual([]);
  expect((bus as unknown as { readonly watchers: ReadonlyMap<string, unknown> }).watchers.size).toBe(0);
});

test('what a listener writes into its event is seen by nobody else', async () => {
  await using storage = await open();
  const told: StoreEvent[] = [];
  storage.on('task.created', (event) => {
    const own = event as unknown as { payload: Record<string, unknown>; type: string };
    own.payload['status'] = 'mine';
    own.type = 'mine';
    event.createdAt.setFullYear(1999);
  });
  storage.on('*', (event) => told.push(event));
  const { events, createdAt, updatedAt, id } = await storage.tasks.create({ title: 'x' });
  const [stored] = await storage.tasks.listEvents(id);
  expect(told).toEqual([stored]);
  expect(events).toEqual([stored]);
  for (const date of [createdAt, updatedAt]) expect(date.getFullYear()).not.toBe(1999);
  // Nor does the caller's own share a Date with the record.
  events[0]!.createdAt.setFullYear(1999);
  expect(createdAt.getFullYear()).not.toBe(1999);
});
