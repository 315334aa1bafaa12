/** Messages that are edited, deleted, brought back and purged; what hangs on them. */
import { describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { ConversationStore, TenantStorage } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';

for (const target of storageTargets('conversations: edits'))
  describe(`edits of messages on ${target.name}`, () => {
    const storage = useStorage(target);
    const fresh = (): TenantStorage['conversations'] => storage().tenant(randomUUID()).conversations;

    if (!target.transactions) {
      test('are refused before any I/O', async () => {
        const store = fresh();
        const [id, message] = [randomUUID(), randomUUID()];
        for (const refused of [
          () => store.editMessage(id, message, { content: 'x' }),
          () => store.deleteMessage(id, message),
          () => store.restoreMessage(id, message),
          () => store.restoreRevision(id, message, 1),
          () => store.purgeMessage(id, message),
          () => store.resetConversation(id),
          () => store.deleteConversation(id),
        ])
          await expect(refused()).rejects.toMatchObject({ code: 'UNSUPPORTED' });
        expect(await store.listRevisions(id, message)).toEqual([]);
      });
      return;
    }

    test('keep each former state, and a restored one is an edit', async () => {
      const store = fresh();
      const id = randomUUID();
      const first = await store.addMessage(id, { content: 'one', metadata: { a: 1 }, extra: { x: 1 } });
      const second = await store.editMessage(
        id,
        first.id,
        { content: 'two', metadata: { b: 2 } },
        { triggeredById: 'ann' },
      );
      expect(second).toMatchObject({
        content: 'two',
        metadata: { a: 1, b: 2 },
        extra: { x: 1 },
        revisions: 1,
        version: 2,
      });
      expect(await store.editMessage(id, first.id, { content: 'two' })).toEqual(second);
      await store.editMessage(id, first.id, { status: 'read', events: [{ type: 'seen' }] }, { ifVersion: 2 });
      await expect(store.editMessage(id, first.id, { status: 'x' }, { ifVersion: 2 })).rejects.toMatchObject({
        code: 'CONFLICT',
      });
      const revisions = await store.listRevisions(id, first.id);
      expect(revisions.map(({ revision, content, status }) => [revision, content, status])).toEqual([
        [1, 'one', 'sent'],
        [2, 'two', 'sent'],
      ]);
      expect(revisions[0]).toMatchObject({ metadata: { a: 1 }, editedById: 'ann', messageId: first.id });
      const back = await store.restoreRevision(id, first.id, 1);
      expect(back).toMatchObject({ content: 'one', metadata: { a: 1 }, status: 'sent', revisions: 3 });
      expect(await store.getMessage(id, first.id)).toEqual(back);
      await expect(store.restoreRevision(id, first.id, 9)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(store.editMessage(id, randomUUID(), { content: 'x' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(store.editMessage(randomUUID(), first.id, { content: 'x' })).rejects.toMatchObject({
        code: 'NOT_FOUND',
      });
      const events = await store.listMessageEvents({ messageId: first.id });
      expect(events.map(({ eventType }) => eventType)).toEqual(['created', 'edited', 'seen', 'edited', 'edited']);
    });

    test('of another version are refused, also where nothing would change', async () => {
      const store = fresh();
      const id = randomUUID();
      const { id: message } = await store.addMessage(id, { content: 'one' });
      await store.editMessage(id, message, { content: 'two' });
      await store.renameConversation(id, 'named');
      const stale = { ifVersion: 1 };
      const unchanged = await Promise.all([store.getConversation(id), store.listMessages(id), store.listEvents(id)]);
      for (const refused of [
        () => store.editMessage(id, message, { content: 'two' }, stale),
        () => store.restoreMessage(id, message, stale),
        () => store.deleteMessage(id, message, stale),
        () => store.renameConversation(id, 'named', stale),
        () => store.ensureConversation(id, {}, stale),
        () => store.ensureConversation(id, { title: 'other' }, stale),
        () => store.unarchiveConversation(id, stale),
      ])
        await expect(refused()).rejects.toMatchObject({ code: 'CONFLICT', details: { reason: 'version' } });
      expect(await Promise.all([store.getConversation(id), store.listMessages(id), store.listEvents(id)])).toEqual(
        unchanged,
      );
      const { version } = (await store.getConversation(id))!;
      const key = { ifVersion: version, idempotencyKey: 'k' };
      const changed = await store.ensureConversation(id, { metadata: { a: 1 } }, key);
      expect(changed).toMatchObject({ metadata: { a: 1 }, version: version + 1 });
      // The same call again gives what it gave.
      expect(await store.ensureConversation(id, { metadata: { a: 1 } }, key)).toEqual(changed);
      const none = store.ensureConversation(randomUUID(), {}, { ifVersion: 1 });
      await expect(none).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await store.deleteMessage(id, message);
      await store.archiveConversation(id);
      for (const refused of [() => store.deleteMessage(id, message, stale), () => store.archiveConversation(id, stale)])
        await expect(refused()).rejects.toMatchObject({ code: 'CONFLICT', details: { reason: 'version' } });
    });

    test('delete softly, and back', async () => {
      const store = fresh();
      const id = randomUUID();
      const message = await store.addMessage(id, { content: 'one', status: 'delivered' });
      const gone = await store.deleteMessage(id, message.id, { reason: 'spam', metadata: { by: 'bot' } });
      expect(gone).toMatchObject({ status: 'deleted', deletedAt: gone.updatedAt, version: 2 });
      expect(await store.deleteMessage(id, message.id)).toEqual(gone);
      expect(await store.getMessage(id, message.id)).toEqual(gone);
      expect((await store.listMessages(id)).items).toEqual([]);
      expect((await store.listMessages(id, { includeDeleted: true })).items).toEqual([gone]);
      expect(await store.loadRecentMessages(id)).toEqual([gone]);
      expect(await store.getConversation(id)).toMatchObject({ messageCount: 0, lastSeq: 1 });
      await expect(store.editMessage(id, message.id, { content: 'x' })).rejects.toMatchObject({
        code: 'CONFLICT',
        details: { reason: 'deleted' },
      });
      const back = await store.restoreMessage(id, message.id);
      expect(back).toMatchObject({ status: 'delivered', version: 3 });
      expect(back).not.toHaveProperty('deletedAt');
      expect(await store.restoreMessage(id, message.id)).toEqual(back);
      expect(await store.getConversation(id)).toMatchObject({ messageCount: 1 });
      const [, deleted, restored] = await store.listMessageEvents({ conversationId: id });
      expect(deleted).toMatchObject({
        eventType: 'soft_deleted',
        metadata: { reason: 'spam', by: 'bot', status: 'deleted' },
      });
      expect(restored).toMatchObject({ eventType: 'restored' });
    });

    test('purge with revisions and events; a place is never given again', async () => {
      const store = fresh();
      const id = randomUUID();
      const [one, two] = [
        await store.addMessage(id, { content: 'one' }),
        await store.addMessage(id, { content: 'two' }),
      ];
      await store.editMessage(id, two.id, { content: 'zwei' });
      expect(await store.purgeMessage(id, two.id)).toBe(true);
      expect(await store.purgeMessage(id, two.id)).toBe(false);
      expect(await store.getMessage(id, two.id)).toBeNull();
      expect(await store.listRevisions(id, two.id)).toEqual([]);
      expect(await store.listMessageEvents({ messageId: two.id })).toEqual([]);
      expect(await store.addMessage(id, { content: 'three' })).toMatchObject({ seq: 3 });
      expect(await store.getConversation(id)).toMatchObject({ messageCount: 2, lastSeq: 3 });
      expect((await store.listMessageEvents({ conversationId: id })).map(({ messageId }) => messageId)).toContain(
        one.id,
      );
    });

    test('reset and delete conversations with all that hangs on them', async () => {
      const store = fresh();
      const [id, kept] = [randomUUID(), randomUUID()];
      for (const at of [id, id, kept]) await store.addMessage(at, { content: 'x', clientMessageId: randomUUID() });
      const told: string[] = [];
      const stop = storage().on('conversation.deleted', ({ aggregateId }) => told.push(aggregateId));
      expect(await store.resetConversation(id)).toBe(true);
      expect(await store.resetConversation(randomUUID())).toBe(false);
      expect(await store.getConversation(id)).toMatchObject({ messageCount: 0, lastSeq: 2, version: 3 });
      expect((await store.listMessages(id, { includeDeleted: true })).items).toEqual([]);
      expect((await store.listEvents(id)).map(({ type }) => type)).toEqual([
        'conversation.created',
        'conversation.reset',
      ]);
      await store.addMessage(id, { content: 'again' });
      await expect(store.deleteConversation(id, { ifVersion: 1 })).rejects.toMatchObject({ code: 'CONFLICT' });
      expect(await store.deleteConversation(id)).toBe(true);
      expect(await store.deleteConversation(id)).toBe(false);
      expect(await store.getConversation(id)).toBeNull();
      // Nothing of what it said: only that it was there.
      const [last, ...others] = await store.listEvents(id);
      expect(last).toMatchObject({ type: 'conversation.deleted', payload: { messages: 1 } });
      expect(others).toEqual([]);
      expect(told).toEqual([id]);
      // Under the same id another one may come to be: its versions begin anew, its seqs go on.
      for (const seq of [4, 5, 6, 7]) expect(await store.addMessage(id, { content: `n${seq}` })).toMatchObject({ seq });
      expect(await store.getConversation(kept)).toMatchObject({ messageCount: 1 });
      stop();
    });

    test('take part in a transaction: rolled back, nothing is there and nothing is told', async () => {
      const tenant = storage().tenant(randomUUID());
      const id = randomUUID();
      const message = await tenant.conversations.addMessage(id, { content: 'one' });
      const boom = new Error('boom');
      const run = tenant.transaction(async (tx) => {
        await tx.conversations.addMessage(id, { content: 'two', user: 'ann', session: 's' });
        await tx.conversations.editMessage(id, message.id, { content: 'eins' });
        await tx.conversations.purgeMessage(id, message.id);
        throw boom;
      });
      await expect(run).rejects.toBe(boom);
      expect((await tenant.conversations.listMessages(id)).items).toEqual([message]);
      expect(await tenant.conversations.getUserProfile('ann')).toBeNull();
      expect(await tenant.conversations.listEvents(id)).toHaveLength(2);
      await tenant.transaction(async (tx) => tx.conversations.addMessage(id, { content: 'two' }));
      expect(await tenant.conversations.addMessage(id, { content: 'three' })).toMatchObject({ seq: 3 });
    });
  });

describe('a message', () => {
  const storage = useStorage({ prepare: () => Promise.resolve({ url: 'memory:', drop: () => Promise.resolve() }) });
  const fresh = (): ConversationStore => storage().tenant(randomUUID()).conversations;

  test('has what its extra speaks of as an asset once, and what its extra has in its extra', async () => {
    const store = fresh();
    const id = randomUUID();
    const extra = { audio: true, audioId: 'a1', id: 'mine', tenantId: 'theirs', version: 9 };
    const message = await store.addMessage(id, { role: '  ', content: 'one', extra });
    expect(message).toMatchObject({ role: 'assistant', version: 1, extra, assets: [{ uri: 'a1' }] });
    expect(message.id).not.toBe('mine');
    expect(message.tenantId).not.toBe('theirs');
    expect(message).not.toHaveProperty('audioId');
    for (const change of [{ content: 'two' }, { extra: { audio: 'loud', b: 2 } }])
      await store.editMessage(id, message.id, change);
    const edited = (await store.getMessage(id, message.id))!;
    expect(edited).toMatchObject({ id: message.id, tenantId: message.tenantId, assets: message.assets });
    expect(edited.extra).toEqual({ ...extra, audio: 'loud', b: 2 });
    expect(edited.assets).toHaveLength(1);
    expect((await store.listMessages(id)).items).toEqual([edited]);
  });

  test('is told of with what it is: when it is added, edited, deleted under a status, and brought back', async () => {
    const store = fresh();
    const id = randomUUID();
    const message = await store.addMessage(id, { role: 'user', messageType: 'image', status: 'pending', content: 'x' });
    await store.editMessage(id, message.id, { messageType: 'video', metadata: { a: 1 } });
    expect(await store.deleteMessage(id, message.id, { status: 'removed' })).toMatchObject({ status: 'removed' });
    expect(await store.restoreMessage(id, message.id)).toMatchObject({ status: 'pending' });
    expect(
      (await store.listMessageEvents({ messageId: message.id })).map(({ eventType, metadata }) => [
        eventType,
        metadata,
      ]),
    ).toEqual([
      ['created', { role: 'user', messageType: 'image', status: 'pending' }],
      ['edited', { messageType: 'video', status: 'pending' }],
      ['soft_deleted', { messageType: 'video', status: 'removed' }],
      ['restored', { messageType: 'video', status: 'pending' }],
    ]);
  });
});
