/** What those who measure are told of operations. */
import { channel } from 'node:diagnostics_channel';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import {
  defineCollection,
  openStorage,
  type OperationMessage,
  StorageError,
  type StorageManager,
} from '../src/index.js';
import type { BeginOperation } from '../src/component.js';
import { runAdmitted } from '../src/operation.js';
import { settled } from './support/manual-clock.js';

const Notes = defineCollection<{ text: string }>({ name: 'notes', id: 'given' });
const OPERATIONS = channel('quartermaster:operation');

let storage: StorageManager;
let told: OperationMessage[];
const listen = (message: unknown): number => told.push(message as OperationMessage);
const seen = () => told.map(({ milliseconds: _time, ...message }) => message);

/** @param deliver whether it looks for what is to be delivered, now and then: that is told too */
async function open(deliver: boolean): Promise<void> {
  const databases = { main: 'memory:', side: 'memory:' };
  storage = await openStorage({ databases, vectors: { default: 'memory' }, outbox: { deliver } }, { environment: {} });
}

beforeEach(() => {
  told = [];
});
afterEach(async () => {
  OPERATIONS.unsubscribe(listen);
  await storage.close();
});

test('each operation is told once, when it has ended, with its collection, its place and its time', async () => {
  await open(false);
  const notes = storage.collection(Notes, { on: 'side' });
  await notes.save({ text: 'before anybody listens' }, { id: 'a' });
  OPERATIONS.subscribe(listen);
  await notes.get('a');
  await storage.kv.set('space', 'key', 1);
  await storage.vectors().createCollection({ name: 'docs', dimension: 2 });
  await storage.vectors().upsert('docs', [{ id: 'v', vector: [1, 0] }]);
  const main = { component: 'main', inTransaction: false };
  const vectors = { component: 'vectors:memory', collection: 'docs', inTransaction: false };
  expect(seen()).toEqual([
    { operation: 'get', component: 'side', collection: 'notes', inTransaction: false },
    { ...main, operation: 'kv.set', collection: 'qm_kv' },
    { ...vectors, operation: 'createCollection' },
    { ...vectors, operation: 'upsert' },
    { ...vectors, operation: 'upsert' },
  ]);
  for (const { milliseconds } of told) expect(milliseconds).toBeGreaterThan(0);
  OPERATIONS.unsubscribe(listen);
  await notes.get('a');
  expect(told).toHaveLength(5);
});

test('what an operation throws is told with it; to find nothing is no fault', async () => {
  await open(false);
  OPERATIONS.subscribe(listen);
  await expect(storage.collection(Notes).get('nowhere')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  const fault = new Error('no');
  const failed = storage.transaction(() => Promise.reject(fault));
  await expect(failed).rejects.toBe(fault);
  expect(seen()).toEqual([
    { operation: 'get', component: 'main', collection: 'notes', inTransaction: false },
    { operation: 'transaction', component: 'main', inTransaction: false, error: fault },
  ]);
});

test('an error of the host is thrown as it is, whatever its code', async () => {
  class Payment extends StorageError {
    readonly bill = 7;
  }
  await open(false);
  for (const code of ['TIMEOUT', 'UNAVAILABLE'] as const) {
    const fault = new Payment(code, 'The bank is slow');
    const fail = (): Promise<never> => Promise.reject(fault);
    await expect(storage.transaction(fail, { retries: 0 })).rejects.toBe(fault);
    await expect(storage.kv.getOrSet('space', 'key', fail)).rejects.toBe(fault);
    await expect(storage.kv.update('space', 'key', fail)).rejects.toBe(fault);
  }
});

test.each([false, true])('its end is told once, also when that throws; measured: %s', async (measured) => {
  await open(false);
  if (measured) OPERATIONS.subscribe(listen);
  const ends: unknown[] = [];
  const fault = new Error('of the end');
  const begin: BeginOperation = () => ({
    context: { now: new Date(), deadline: Infinity },
    component: 'main',
    end(failure) {
      ends.push(failure);
      throw fault;
    },
  });
  await expect(runAdmitted(begin, 'get', undefined, async () => 1)).rejects.toBe(fault);
  expect(ends).toEqual([undefined]);
});

test('what a transaction does is told as its part, and then the whole', async () => {
  await open(true);
  OPERATIONS.subscribe(listen);
  await storage.transaction(async (tx) => {
    await tx.collection(Notes).save({ text: 'kept' }, { id: 'a' });
    await tx.deliver.collection(Notes, { on: 'side' }).save({ text: 'later' }, { id: 'b' });
  });
  const own = seen().filter(({ component }) => component === 'main');
  const saved = { operation: 'save', component: 'main', collection: 'notes', inTransaction: true };
  expect(own.filter(({ collection }) => collection === 'notes')).toContainEqual(saved);
  expect(own).toContainEqual({ operation: 'transaction', component: 'main', inTransaction: false });
  // What is left to be delivered is no operation of its target yet.
  while ((await storage.outbox.backlog()).waiting > 0) await settled();
  const there = told.filter(({ component }) => component === 'side').map(({ operation }) => operation);
  expect(there).toContain('deliver');
  expect(there).not.toContain('save');
});
