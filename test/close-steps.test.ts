/** Calls of several steps while the manager closes: each has until the deadline, as an operation of one step has. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { defineCollection, openStorage } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';
import { storageTargets } from './support/storage-targets.js';

const Items = defineCollection<{ i: number }>({ name: 'items', id: 'given', fields: { i: 'number' } });
const vectors = { default: 'memory', memory: { database: 'side' } };
const CLOSED = { code: 'CLOSED' };
/** Milliseconds: more than a busy machine takes for any of these. */
const LONG = 60_000;

/** Begins a close at the end of the first operation of this name. */
async function closingAt<R>(
  storage: StorageManager,
  operation: string,
  deadline: number,
  work: () => Promise<R>,
): Promise<R> {
  let closing: Promise<void> | undefined;
  const onOperation = (message: unknown): void => {
    if ((message as { readonly operation: string }).operation === operation) closing ??= storage.close({ deadline });
  };
  subscribe('quartermaster:operation', onOperation);
  try {
    return await work();
  } finally {
    unsubscribe('quartermaster:operation', onOperation);
    expect(closing).toBeDefined();
    await closing;
  }
}

const items = (count: number): { id: string; value: { i: number } }[] =>
  Array.from({ length: count }, (_, i) => ({ id: `i${i}`, value: { i } }));

for (const target of storageTargets('a close amid calls of several steps'))
  describe(`a close amid calls of several steps on ${target.name}`, () => {
    let url: string;
    let drop: () => Promise<void>;
    beforeAll(async () => {
      ({ url, drop } = await target.prepare());
    });
    afterAll(() => drop());
    const open = (): Promise<StorageManager> =>
      openStorage(
        { databases: { main: url, side: 'memory:' }, stores: { default: 'main' }, vectors },
        { environment: {} },
      );

    // Where no batch is atomic they are written one by one.
    const many = target.transactions ? 6_000 : 60;

    test('a load is done, or told as cut off', async () => {
      const storage = await open();
      const records = storage.collection(Items);
      await records.load(items(10));
      const report = await closingAt(storage, 'load', LONG, () => records.load(items(many)));
      expect(report).toMatchObject({ written: many, failed: 0 });
      const other = await open();
      const again = other.collection(Items);
      await again.load(items(10));
      const cut = closingAt(other, 'load', 0, () => again.load(items(many)));
      await expect(cut).rejects.toMatchObject(CLOSED);
    });

    test('who walks records reads them all, or is cut off; who holds one back holds a close up no longer', async () => {
      const storage = await open();
      await storage.collection(Items).load(items(250));
      let read = 0;
      let closing: Promise<void> | undefined;
      for await (const { value } of storage.collection(Items).each()) {
        closing ??= storage.close({ deadline: LONG });
        read += Math.sign(value.i + 1);
      }
      await closing;
      expect(read).toBeGreaterThanOrEqual(250);
      const other = await open();
      await other.collection(Items).load(items(250));
      const held = other.collection(Items).each();
      await held.next();
      const begun = performance.now();
      await other.close({ deadline: 50 });
      expect(performance.now() - begun).toBeLessThan(LONG / 2);
      const rest = async (): Promise<void> => {
        for (let item = await held.next(); item.done !== true;) item = await held.next();
      };
      await expect(rest()).rejects.toMatchObject(CLOSED);
    });

    test('a call that is begun meanwhile is refused', async () => {
      const storage = await open();
      const records = storage.collection(Items);
      await records.load(items(250));
      const walk = records.each();
      await walk.next();
      const closing = storage.close({ deadline: LONG });
      await expect(records.get('i1')).rejects.toMatchObject(CLOSED);
      await expect(records.each().next()).rejects.toMatchObject(CLOSED);
      expect(() => storage.collection(Items)).toThrow(expect.objectContaining(CLOSED));
      await walk.return();
      await closing;
    });

    if (target.transactions) {
      test('the vectors of a message are written and told, or it is known that they are not', async () => {
        const storage = await open();
        const message = await storage.conversations.addMessage(randomUUID(), { content: 'x' });
        const write = (key: string): Promise<unknown> =>
          storage.conversations.upsertMessageVectors(message.id, [{ embedding: [1, 0, 0], vectorKey: key }]);
        await write(`first ${message.id}`);
        const told = await closingAt(storage, 'upsert', LONG, () => write(`second ${message.id}`));
        expect(told).toMatchObject([{ vectorKey: `second ${message.id}` }]);
      });

      test('what is imported, exported or retained is so to its end', async () => {
        const storage = await open();
        const tenant = randomUUID();
        const { conversations } = storage.tenant(tenant);
        for (let i = 0; i < 3; i++) {
          const id = randomUUID();
          for (const content of ['a', 'b']) await conversations.addMessage(id, { content, createdAt: '2020-01-01' });
        }
        const lines: string[] = [];
        let closing: Promise<void> | undefined;
        for await (const line of conversations.exportConversations()) {
          closing ??= storage.close({ deadline: LONG });
          lines.push(line);
        }
        await closing;
        const other = await open();
        const copy = other.tenant(`${tenant}-copy`).conversations;
        const source = async function* (): AsyncGenerator<string> {
          for (const [i, line] of lines.entries()) {
            if (i === 3) closing = other.close({ deadline: LONG });
            yield await Promise.resolve(line);
          }
        };
        expect(await copy.importConversations(source(), { remapIds: true })).toMatchObject({
          written: { conversation: 3, message: 6 },
        });
        await closing;
        const third = await open();
        const theirs = third.tenant(`${tenant}-old`).conversations;
        for (let i = 0; i < 3; i++) await theirs.addMessage(randomUUID(), { content: 'x', createdAt: '2020-01-01' });
        third.on('conversation.archived', () => void (closing = third.close({ deadline: LONG })));
        expect(await theirs.retain({ conversationArchiveDays: 30 })).toMatchObject({ conversations: { archived: 3 } });
        await closing;
      });
    }
  });
