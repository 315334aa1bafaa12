/** Conversations and their messages on every database. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { openStorage, type StorageManager, type TenantStorage } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';

for (const target of storageTargets('conversations'))
  describe(`conversations on ${target.name}`, () => {
    let storage: StorageManager;
    let other: StorageManager | undefined;
    let drop: () => Promise<void>;
    let atomic: boolean;
    beforeAll(async () => {
      const prepared = await target.prepare();
      drop = prepared.drop;
      storage = await openStorage({ databases: { main: prepared.url } }, { environment: {} });
      if (target.server) other = await openStorage({ databases: { main: prepared.url } }, { environment: {} });
      atomic = storage.conversations.capabilities.writes;
    });
    afterAll(async () => {
      await other?.close();
      await storage.close();
      await drop();
    });
    /** A tenant of its own for each test. */
    const fresh = (): TenantStorage['conversations'] => storage.tenant(randomUUID()).conversations;

    test('refuses what needs an atomic batch where there is none, and does the rest', async () => {
      const store = fresh();
      const id = randomUUID();
      expect(store.capabilities).toMatchObject({ reads: true, users: true, purges: target.transactions });
      const user = await store.ensureUser('ann', { displayName: 'Ann', metadata: { a: 1 } });
      expect(await store.ensureUser('ann', { metadata: { b: 2 } })).toMatchObject({ id: user.id, version: 2 });
      expect(await store.getUserProfile('ann')).toMatchObject({ displayName: 'Ann', userId: user.id, profile: {} });
      expect(await store.ensureSession('s', { userId: user.id })).toMatchObject({ userId: user.id });
      expect(await store.getConversation(id)).toBeNull();
      expect(await store.listMessages(id)).toEqual({ items: [] });
      const add = store.addMessage(id, { role: 'user', content: 'hello' });
      if (atomic) return expect(await add).toMatchObject({ seq: 1 });
      await expect(add).rejects.toMatchObject({ code: 'UNSUPPORTED' });
      await expect(store.ensureConversation(id)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
      await expect(store.archiveConversation(id)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
      expect(await store.getConversation(id)).toBeNull();
    });

    const writes = (name: string, run: () => Promise<void>): void =>
      test(name, async () => {
        if (atomic) await run();
        else
          await expect(fresh().addMessage(randomUUID(), { content: 'x' })).rejects.toMatchObject({
            code: 'UNSUPPORTED',
          });
      });

    writes('adds messages: conversation, user and session on demand, a place each', async () => {
      const store = fresh();
      const id = randomUUID();
      const first = await store.addMessage(id, {
        role: 'user',
        content: { text: 'Hello there' },
        user: 'ann',
        session: 's1',
        createdAt: '2024-05-21 09:00:00',
        extra: { audio: true, audioId: 'a1', audioFormat: 'ogg' },
        events: [{ type: 'typed', metadata: { ms: 4 } }],
      });
      const second = await store.addMessage(id, { content: 'Hi', user: 'ann', session: 's1' });
      expect(first).toMatchObject({ seq: 1, role: 'user', messageType: 'text', status: 'sent', revisions: 0 });
      expect(first.createdAt).toEqual(new Date('2024-05-21T09:00:00Z'));
      expect(first.assets).toMatchObject([{ assetType: 'audio', uri: 'a1', metadata: { format: 'ogg' } }]);
      expect(second).toMatchObject({ seq: 2, role: 'assistant', userId: first.userId });
      const conversation = (await store.getConversation(id))!;
      const session = await store.ensureSession('s1');
      expect(conversation).toMatchObject({ messageCount: 2, lastSeq: 2, sessionId: session.id, userId: first.userId });
      expect(conversation.lastMessageAt).toEqual(second.createdAt);
      expect(await store.getMessage(id, first.id)).toEqual(first);
      expect((await store.listMessages(id)).items).toEqual([first, second]);
      const events = await store.listMessageEvents({ conversationId: id });
      expect(events.map(({ eventType, messageId }) => [eventType, messageId])).toEqual([
        ['typed', first.id],
        ['created', first.id],
        ['created', second.id],
      ]);
      expect(await store.listMessageEvents({ messageId: second.id })).toEqual(events.slice(2));
      expect(await store.listMessageEvents({ conversationId: id, after: events[0]!.seq })).toEqual(events.slice(1));
    });

    writes('gives the stored message for a clientMessageId that comes again', async () => {
      const store = fresh();
      const id = randomUUID();
      const first = await store.addMessage(id, { content: 'one', clientMessageId: 'c1' });
      // Known from the write before, and not known: by the constraint, and by the look-up.
      expect(await store.addMessage(id, { content: 'other', clientMessageId: 'c1' })).toEqual(first);
      await store.renameConversation(id, 'named');
      expect(await store.addMessage(id, { content: 'other', clientMessageId: 'c1' })).toEqual(first);
      const racers = Array.from({ length: 8 }, () => store.addMessage(id, { content: 'two', clientMessageId: 'c2' }));
      expect(new Set((await Promise.all(racers)).map((message) => message.id)).size).toBe(1);
      expect(await store.getConversation(id)).toMatchObject({ messageCount: 2, lastSeq: 2 });
      expect(await store.addMessage(randomUUID(), { content: 'one', clientMessageId: 'c1' })).toMatchObject({ seq: 1 });
      const once = await store.addMessage(id, { content: 'three' }, { idempotencyKey: 'k' });
      expect(await store.addMessage(id, { content: 'three' }, { idempotencyKey: 'k' })).toEqual(once);
      await expect(store.addMessage(id, { content: 'four' }, { idempotencyKey: 'k' })).rejects.toMatchObject({
        code: 'CONFLICT',
        details: { reason: 'idempotency' },
      });
    });

    writes('adds at once without gaps or doubles, from two managers too', async () => {
      const tenant = randomUUID();
      const store = storage.tenant(tenant).conversations;
      const stores = [store, other?.tenant(tenant).conversations ?? store];
      const id = randomUUID();
      // Each loses to many others first.
      const patient = { timeout: 120_000 };
      await Promise.all(
        Array.from({ length: 24 }, (_, i) => stores[i % 2]!.addMessage(id, { content: `n${i}` }, patient)),
      );
      const seqs = (await store.listMessages(id, { limit: 100 })).items.map(({ seq }) => seq);
      expect(seqs).toEqual(Array.from({ length: 24 }, (_, i) => i + 1));
      expect(await store.getConversation(id)).toMatchObject({ messageCount: 24, lastSeq: 24, version: 24 });
      const events = await store.listEvents(id);
      expect(events.map(({ seq }) => Math.floor(seq / 1_000))).toEqual([1, ...seqs]);
    });

    writes('pages both ways, while others append', async () => {
      const store = fresh();
      const id = randomUUID();
      for (let i = 1; i <= 7; i++) await store.addMessage(id, { content: `n${i}`, metadata: { even: i % 2 === 0 } });
      const seqs = ({ items }: { items: { seq: number }[] }): number[] => items.map(({ seq }) => seq);
      const first = await store.listMessages(id, { limit: 3 });
      expect([seqs(first), first.previous]).toEqual([[1, 2, 3], undefined]);
      await store.addMessage(id, { content: 'n8', createdAt: new Date(0), metadata: { even: true } });
      const second = await store.listMessages(id, { limit: 3, after: first.next! });
      expect(seqs(second)).toEqual([4, 5, 6]);
      const last = await store.listMessages(id, { limit: 3, after: second.next! });
      expect([seqs(last), last.next]).toEqual([[7, 8], undefined]);
      expect(seqs(await store.listMessages(id, { limit: 3, after: second.previous! }))).toEqual([1, 2, 3]);
      const newest = await store.listMessages(id, { limit: 3, direction: 'backward' });
      expect([seqs(newest), newest.next]).toEqual([[6, 7, 8], undefined]);
      expect(seqs(await store.listMessages(id, { limit: 3, after: newest.previous! }))).toEqual([3, 4, 5]);
      const even = await store.listMessages(id, { limit: 2, metadata: { even: true } });
      expect(seqs(even)).toEqual([2, 4]);
      await expect(store.listMessages(id, { after: even.next! })).rejects.toMatchObject({ code: 'INVALID_CURSOR' });
      await expect(store.listMessages(id, { after: 'nonsense' })).rejects.toMatchObject({ code: 'INVALID_CURSOR' });
      expect((await store.loadRecentMessages(id, { limit: 2 })).map(({ seq }) => seq)).toEqual([7, 8]);
      expect((await store.loadRecentMessages(id, { limit: 2, before: 7 })).map(({ seq }) => seq)).toEqual([5, 6]);
      const streamed: number[] = [];
      for await (const { seq } of store.streamMessages(id, { batchSize: 3, direction: 'backward' })) streamed.push(seq);
      expect(streamed).toEqual([8, 7, 6, 5, 4, 3, 2, 1]);
      const old = await store.queryMessages({ conversationIds: [id], until: new Date(1) });
      expect(seqs(old)).toEqual([8]);
    });
  });
