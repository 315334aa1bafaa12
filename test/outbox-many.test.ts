/** Many messages of one call: in their order, each once, and at the price of one. */
import { describe, expect, test } from '@jest/globals';
import type { NewMessage } from '../src/index.js';
import { statementsOf } from './support/statements.js';
import { storageTargets } from './support/storage-targets.js';
import { useStorage } from './support/use-storage.js';

const TARGETS = storageTargets('many messages').filter(({ transactions }) => transactions);
const message = (key: string, payload: unknown, idempotencyKey?: string): NewMessage => ({
  topic: 'mail',
  key,
  payload,
  ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
});

describe.each(TARGETS)('many messages on $name', (target) => {
  const storage = useStorage(target);
  const enqueueMany = (messages: readonly NewMessage[]) =>
    storage().transaction((tx) => tx.outbox.enqueueMany(messages));

  /** Delivers what waits. @returns what came under each key */
  async function deliver(count: number): Promise<Record<string, unknown[]>> {
    const came: Record<string, unknown[]> = {};
    let left = count;
    let done!: () => void;
    const all = new Promise<void>((resolve) => (done = resolve));
    await using relay = storage().outbox.relay({
      handlers: {
        mail: async ({ key, payload }) => {
          (came[key] ??= []).push(payload);
          if (--left === 0) done();
        },
      },
    });
    await all;
    await relay.stop();
    expect((await storage().outbox.backlog()).waiting).toBe(0);
    return came;
  }

  test('are delivered in their order by key, behind those that were there', async () => {
    await storage().transaction((tx) => tx.outbox.enqueue(message('a', 0)));
    const left = await enqueueMany(['a', 'b', 'a', 'c', 'a', 'b'].map((key, i) => message(key, i + 1)));
    expect(new Set(left.map(({ id }) => id)).size).toBe(6);
    expect(left.every(({ duplicate }) => !duplicate)).toBe(true);
    await storage().transaction((tx) => tx.outbox.enqueue(message('b', 7)));
    expect(await deliver(8)).toEqual({ a: [0, 1, 3, 5], b: [2, 6, 7], c: [4] });
    expect(await enqueueMany([])).toEqual([]);
  });

  test('are one message under one idempotency key, of this call and of those before', async () => {
    const [before] = await enqueueMany([message('a', 1, 'k1')]);
    const [again, first, second, third] = await enqueueMany([
      message('a', 1, 'k1'),
      message('a', 2, 'k2'),
      message('a', 2, 'k2'),
      message('a', 3),
    ]);
    expect(again).toEqual({ id: before!.id, duplicate: true });
    expect(first!.duplicate).toBe(false);
    expect(second).toEqual({ id: first!.id, duplicate: true });
    expect(third!.duplicate).toBe(false);
    const conflict = { code: 'CONFLICT', details: { reason: 'idempotency' } };
    await expect(enqueueMany([message('a', 4), message('a', 5, 'k1')])).rejects.toMatchObject(conflict);
    await expect(enqueueMany([message('a', 4, 'k4'), message('a', 5, 'k4')])).rejects.toMatchObject(conflict);
    expect(await deliver(3)).toEqual({ a: [1, 2, 3] });
  });

  test('are as many as a call takes, all of them or none', async () => {
    const many = Array.from({ length: 1_000 }, (_, i) => message(`key${i % 300}`, i));
    await storage()
      .transaction(async (tx) => {
        await tx.outbox.enqueueMany(many);
        throw new Error('no');
      })
      .catch(() => undefined);
    expect((await storage().outbox.backlog()).waiting).toBe(0);
    await enqueueMany(many);
    const came = await deliver(1_000);
    expect(came['key7']).toEqual([7, 307, 607, 907]);
    expect(Object.keys(came)).toHaveLength(300);
  });

  test.each([
    ['no array', message('a', 1), 'messages'],
    ['too many', Array.from({ length: 1_001 }, () => message('a', 1)), 'messages'],
    ['one without a payload', [message('a', 1), message('a', undefined)], 'messages[1].payload'],
    ['one that is no JSON', [message('a', 1), message('a', { at: new Date() })], 'messages[1].payload.at'],
    ['one of a topic of the library', [{ ...message('a', 1), topic: 'deliver.kv' }], 'messages[0].topic'],
  ])('%s is refused before any of them is left', async (_case, messages, key) => {
    await expect(enqueueMany(messages as never)).rejects.toMatchObject({ code: 'VALIDATION', details: { key } });
    expect((await storage().outbox.backlog()).waiting).toBe(0);
  });

  if (target.name === 'postgres')
    test('cost as many round trips as one', async () => {
      const sent = (count: number) =>
        statementsOf(() => enqueueMany(Array.from({ length: count }, (_, i) => message(`key${i % 20}`, i))));
      expect((await sent(1)).length).toBe(3);
      expect((await sent(200)).length).toBe(3);
      await deliver(201);
    });
});
