/** The CRUD interface as messages. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  defineCollection,
  openStorage,
  type MessageHandler,
  type StorageManager,
  type StorageMessage,
} from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';

const Orders = defineCollection<{ status: string; total: number; dueAt?: Date }>({
  name: 'orders',
  fields: { status: 'string', total: 'number', dueAt: 'date' },
});
const Secrets = defineCollection<{ secret: string }>({ name: 'secrets', id: 'given' });

interface Answer {
  data: { id: string; next: string };
}

function nested(innermost: unknown): unknown {
  let value = innermost;
  for (let level = 0; level < 8_000; level++) value = { a: value };
  return value;
}

/** As it comes over a wire. */
const overTheWire =
  (handle: MessageHandler): ((message: unknown) => Promise<Answer>) =>
  async (message) =>
    JSON.parse(JSON.stringify(await handle(JSON.parse(JSON.stringify(message) ?? 'null') as StorageMessage))) as Answer;

for (const target of storageTargets('messages'))
  describe(`messages on ${target.name}`, () => {
    let storage: StorageManager;
    let drop: () => Promise<void>;
    let send: ReturnType<typeof overTheWire>;
    beforeAll(async () => {
      const prepared = await target.prepare();
      drop = prepared.drop;
      storage = await openStorage({ databases: { main: prepared.url } }, { environment: {} });
      send = overTheWire(storage.messageHandler([Orders]));
    });
    afterAll(async () => {
      await storage.close();
      await drop();
    });

    test('save, get, query, list and delete answer with records of JSON', async () => {
      const dueAt = '2024-05-21T09:00:00.000Z';
      const saved = await send({
        action: 'storage_save',
        requestId: 'r1',
        collection: 'orders',
        id: 'o1',
        value: { status: 'open', total: 12, dueAt },
      });
      expect(saved).toMatchObject({
        success: true,
        requestId: 'r1',
        data: { id: 'o1', version: 1, value: { status: 'open', total: 12, dueAt } },
      });
      expect(await send({ action: 'storage_get', collection: 'orders', id: 'o1' })).toEqual({
        success: true,
        data: saved.data,
      });
      const changed = { action: 'storage_save', collection: 'orders', id: 'o1', value: { status: 'paid', total: 12 } };
      expect(await send({ ...changed, ifVersion: 1 })).toMatchObject({ success: true, data: { version: 2 } });
      expect(await send({ ...changed, ifVersion: 1 })).toMatchObject({
        success: false,
        error: { type: 'CONFLICT', retryable: false, details: { version: 2 } },
      });
      const made = await send({
        action: 'storage_save',
        collection: 'orders',
        value: { status: 'open', total: 3, dueAt: '2024-06-01T00:00:00Z' },
      });
      const query = { action: 'storage_query', collection: 'orders' };
      const after = await send({ ...query, filter: { dueAt: { $gt: '2024-05-31' }, status: 'open' } });
      expect(after).toMatchObject({ success: true, data: { items: [{ id: made.data.id }] } });
      const sorted = { action: 'storage_list', collection: 'orders', sort: { total: 'asc' }, limit: 1 };
      const first = await send(sorted);
      expect(first).toMatchObject({ success: true, data: { items: [{ value: { total: 3 } }] } });
      const second = await send({ ...sorted, after: first.data.next });
      expect(second).toMatchObject({ success: true, data: { items: [{ id: 'o1' }] } });
      expect(await send({ action: 'storage_delete', collection: 'orders', id: 'o1' })).toMatchObject({
        success: true,
        data: { id: 'o1', version: 2 },
      });
      expect(await send({ action: 'storage_get', collection: 'orders', id: 'o1' })).toMatchObject({
        success: false,
        error: { type: 'NOT_FOUND', details: { id: 'o1' } },
      });
    });

    test('are of the tenant of their handle', async () => {
      const other = overTheWire(storage.tenant('other').messageHandler([Orders]));
      await send({ action: 'storage_save', collection: 'orders', id: 'mine', value: { status: 'open', total: 1 } });
      const answer = await other({ action: 'storage_get', collection: 'orders', id: 'mine' });
      expect(answer).toMatchObject({ success: false, error: { type: 'NOT_FOUND' } });
    });
  });

describe('a message that says something else', () => {
  const save = { action: 'storage_save', collection: 'orders', id: 'x', value: { status: 'a', total: 1 } };
  const wrong: [string, unknown, string, string][] = [
    ['no message', null, 'VALIDATION', 'message'],
    ['an unknown action', { action: 'storage_drop', collection: 'orders' }, 'VALIDATION', 'message.action'],
    ['an inherited action', { action: 'constructor', collection: 'orders' }, 'VALIDATION', 'message.action'],
    ['a collection out of reach', { ...save, collection: 'secrets' }, 'VALIDATION', 'message.collection'],
    ['an unknown member', { ...save, upsert: true }, 'VALIDATION', 'message.upsert'],
    ['a number for an id', { ...save, id: 1 }, 'VALIDATION', 'message.id'],
    ['a wrong value', { ...save, value: { status: 'a', total: '1' } }, 'VALIDATION', 'value.total'],
    ['a wrong version', { ...save, ifVersion: 0 }, 'VALIDATION', 'message.ifVersion'],
    ['a wrong requestId', { ...save, requestId: 7 }, 'VALIDATION', 'message.requestId'],
    ['no id to get', { action: 'storage_get', collection: 'orders' }, 'VALIDATION', 'message.id'],
    ['no filter', { action: 'storage_query', collection: 'orders' }, 'VALIDATION', 'message.filter'],
    [
      'no date in a filter',
      { action: 'storage_query', collection: 'orders', filter: { dueAt: { $gt: 'soon' } } },
      'VALIDATION',
      'message.filter.dueAt',
    ],
    [
      'an unknown operator',
      { action: 'storage_query', collection: 'orders', filter: { total: { $near: 1 } } },
      'INVALID_FILTER',
      '$near',
    ],
    ['a forged cursor', { action: 'storage_list', collection: 'orders', after: 'x' }, 'INVALID_CURSOR', ''],
    ['a page of none', { action: 'storage_list', collection: 'orders', limit: 0 }, 'VALIDATION', 'message.limit'],
  ];
  test.each(wrong)('%s is refused', async (_what, message, type, key) => {
    await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
    await storage.collection(Secrets).save({ secret: 's' }, { id: 'x' });
    const answer = await overTheWire(storage.messageHandler([Orders]))(message);
    expect(answer).toMatchObject({ success: false, error: { type, message: expect.stringContaining(key) } });
    expect((await storage.collection(Orders).list()).items).toEqual([]);
  });

  test('what fails for a reason of its own is told without it', async () => {
    const storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
    const send = overTheWire(storage.messageHandler([Orders]));
    await storage.close();
    const answer = await send({ action: 'storage_get', collection: 'orders', id: 'x' });
    expect(answer).toMatchObject({ success: false, error: { type: 'CLOSED' } });
  });

  const query = { action: 'storage_query', collection: 'orders' };
  const deep: [string, object, string][] = [
    ['a value', { ...save, value: nested({ status: 'a' }) }, 'VALIDATION'],
    ['a filter', { ...query, filter: nested(1) }, 'INVALID_FILTER'],
    ["a date's operand", { ...query, filter: { dueAt: nested('2025-01-01') } }, 'INVALID_FILTER'],
  ];
  test.each(deep)('%s of thousands of levels is refused', async (_what, message, type) => {
    await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
    const answer = await storage.messageHandler([Orders])(message as StorageMessage);
    expect(answer).toMatchObject({ success: false, error: { type } });
  });

  test('what fails for a server that cannot be reached does not name it', async () => {
    const main = { url: 'postgresql://svc:secret@127.0.0.1:1/billing', critical: false };
    const storage = await openStorage({ databases: { main } }, { environment: {} });
    const answer = await overTheWire(storage.messageHandler([Orders]))({
      action: 'storage_list',
      collection: 'orders',
    });
    await storage.close({ deadline: 0 });
    const error = { type: 'UNAVAILABLE', message: 'The operation failed', retryable: true, details: {} };
    expect(answer).toEqual({ success: false, error });
  });

  test('what fails for what another tenant has does not tell of it', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'quartermaster-'));
    const settings = { databases: { main: `sqlite:${join(directory, 'main.db')}` } };
    const Before = defineCollection<{ age: string }>({ name: 'patients', id: 'given' });
    const After = defineCollection<{ age: number }>({ name: 'patients', id: 'given', fields: { age: 'number' } });
    try {
      await using before = await openStorage(settings, { environment: {} });
      await before.tenant('globex').collection(Before).save({ age: 'old' }, { id: 'john@globex.test' });
      await before.close();
      await using after = await openStorage(settings, { environment: {} });
      const send = overTheWire(after.tenant('acme').messageHandler([After]));
      const error = { type: 'MIGRATION', message: 'The operation failed', retryable: false, details: {} };
      expect(await send({ action: 'storage_list', collection: 'patients' })).toEqual({ success: false, error });
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test('whose requestId cannot be read is answered too', async () => {
    await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
    const message = {
      get requestId(): string {
        throw new Error('no');
      },
    };
    const answer = await storage.messageHandler([Orders])(message as never);
    expect(answer).toMatchObject({ success: false, error: { type: 'INTERNAL' } });
  });

  test('whose value has a name with a dot keeps it as it is, as the collection does', async () => {
    await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
    const Visits = defineCollection({ name: 'visits', fields: { 'meta.at': 'date' } });
    const send = storage.messageHandler([Visits]);
    const value = { 'meta.at': 'noon', meta: { at: '2025-01-01T00:00:00Z' } };
    const answer = await send({ action: 'storage_save', collection: 'visits', id: 'x', value });
    expect(answer).toMatchObject({ success: true });
    expect((await storage.collection(Visits).get('x')).value).toEqual({
      'meta.at': 'noon',
      meta: { at: new Date('2025-01-01') },
    });
  });
});
