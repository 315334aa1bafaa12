/** The CRUD interface as messages. */
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
