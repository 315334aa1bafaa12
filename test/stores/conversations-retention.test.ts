/** Retention of conversations while others write to them, run by several at once, and beside what it cannot take. */
import { describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { ConversationStore, Message } from '../../src/index.js';
import { MESSAGES } from '../../src/adapters/conversations/records.js';
import { STEP } from '../../src/adapters/conversations/retain.js';
import type { CountRequest } from '../../src/backends/backend.js';
import { conversation, exported, message } from '../support/exported-conversations.js';
import { beforeCall } from '../support/held-call.js';
import { ManualClock } from '../support/manual-clock.js';
import { openManager } from '../support/shared-memory.js';
import { storageTargets } from '../support/storage-targets.js';
import { useTwoStorages } from '../support/use-storage.js';

const LONG_AGO = '2020-01-01';

for (const target of storageTargets('conversations: retention').filter(({ transactions }) => transactions))
  describe(`retention of conversations on ${target.name}`, () => {
    const managers = useTwoStorages(target);
    const both = (): [ConversationStore, ConversationStore, string] => {
      const tenant = randomUUID();
      const [mine, theirs] = managers().map((manager) => manager.tenant(tenant).conversations);
      return [mine!, theirs!, tenant];
    };
    /** Conversations of one old message each. */
    async function add(store: ConversationStore, count: number): Promise<string[]> {
      const ids = Array.from({ length: count }, () => randomUUID());
      for (const id of ids) await store.addMessage(id, { content: 'x', createdAt: LONG_AGO });
      return ids;
    }
    /** Runs `work` once the first event of this kind of the tenant is told; the steps of `run` after it wait for its end. */
    async function whileRunning<R>(
      event: 'conversation.deleted' | 'conversation.archived',
      tenant: string,
      run: (beforeStep: () => Promise<unknown>) => Promise<unknown>,
      work: () => Promise<R>,
    ): Promise<R> {
      let beside: Promise<R> | undefined;
      const beforeStep = (): Promise<unknown> => Promise.allSettled([beside]);
      const off = managers()[0].on(event, ({ tenantId }) => {
        if (tenantId === tenant) beside ??= work();
      });
      await run(beforeStep);
      off();
      return beside!;
    }

    test('a conversation that was unarchived meanwhile is not deleted', async () => {
      const [mine, theirs, tenant] = both();
      const ids = await add(mine, 40);
      for (const id of ids) await mine.archiveConversation(id, { at: LONG_AGO });
      const last = ids.at(-1)!;
      const unarchived = await whileRunning(
        'conversation.deleted',
        tenant,
        (beforeStep) => {
          const own = mine['deleteFound'].bind(mine);
          mine['deleteFound'] = (...given) => beforeStep().then(() => own(...given));
          return mine.retain({ archivedConversationRetentionDays: 30 });
        },
        () => theirs.unarchiveConversation(last),
      );
      expect(unarchived).toBe(true);
      expect(await mine.getConversation(last)).toMatchObject({ messageCount: 1 });
      expect((await mine.listMessages(last)).items).toHaveLength(1);
      expect(await mine.statistics()).toMatchObject({ conversations: 1, messages: 1 });
    });

    test('a conversation that was unarchived is active from then', async () => {
      const [mine] = both();
      const [id] = await add(mine, 1);
      expect(await mine.retain({ conversationArchiveDays: 30 })).toMatchObject({ conversations: { archived: 1 } });
      expect(await mine.unarchiveConversation(id!)).toBe(true);
      expect(await mine.retain({ conversationArchiveDays: 30 })).toMatchObject({ conversations: { archived: 0 } });
      const found = (await mine.getConversation(id!))!;
      expect(found.lastMessageAt).toEqual(new Date(LONG_AGO));
      expect(found.activeAt.getTime()).toBeGreaterThan(Date.now() - 86_400_000);
    });

    test('a conversation that was written to meanwhile is not archived for its age', async () => {
      const [mine, theirs, tenant] = both();
      const ids = await add(mine, 40);
      const last = ids.at(-1)!;
      const message = await whileRunning(
        'conversation.archived',
        tenant,
        (beforeStep) => {
          const own = mine['archiveIf'].bind(mine);
          mine['archiveIf'] = (...given) => beforeStep().then(() => own(...given));
          return mine.retain({ conversationArchiveDays: 30 });
        },
        () => theirs.addMessage(last, { content: 'new' }),
      );
      expect(message).toMatchObject({ seq: 2 });
      expect((await mine.getConversation(last))!.archivedAt).toBeUndefined();
      expect(await mine.statistics()).toMatchObject({ conversations: 40, archived: 39 });
    });

    test('an archived conversation that is written to stays, until that is old too', async () => {
      const [mine] = both();
      const [written, quiet] = (await add(mine, 2)) as [string, string];
      for (const id of [written, quiet]) await mine.archiveConversation(id, { at: LONG_AGO });
      await mine.addMessage(written, { content: 'new' });
      const policy = { archivedConversationRetentionDays: 30 };
      const deleted = { conversations: { archived: 0, deleted: 1 } };
      expect(await mine.retain(policy, { dryRun: true })).toMatchObject(deleted);
      expect(await mine.retain(policy)).toMatchObject(deleted);
      expect(await mine.getConversation(written)).toMatchObject({ messageCount: 2, archivedAt: new Date(LONG_AGO) });
      expect(await mine.getConversation(quiet)).toBeNull();
    });

    test('messages that together are larger than a batch are marked, trimmed and purged', async () => {
      const [mine] = both();
      const id = randomUUID();
      const content = { data: 'x'.repeat(1_000_000) };
      for (let i = 0; i < 12; i++) await mine.addMessage(id, { content, createdAt: LONG_AGO, status: 'read' });
      const listed = async (): Promise<Message[]> => (await mine.listMessages(id, { includeDeleted: true })).items;
      expect(await mine.trimHistory(id, { keep: 1 })).toBe(11);
      const marked = { deletedAt: expect.any(Date), status: 'deleted', content };
      expect((await listed()).slice(0, -1)).toMatchObject(Array.from({ length: 11 }, () => marked));
      for (const message of (await listed()).slice(0, -1))
        expect(await mine.restoreMessage(id, message.id)).toMatchObject({ status: 'read' });
      expect(await mine.retain({ softDeleteAfterDays: 30 })).toMatchObject({ messages: { softDeleted: 12 } });
      expect(await listed()).toMatchObject(Array.from({ length: 12 }, () => marked));
      const events = await mine.listMessageEvents({ conversationId: id, limit: 1_000 });
      expect(events.filter(({ eventType }) => eventType === 'soft_deleted')).toHaveLength(23);
      expect(await mine.getConversation(id)).toMatchObject({ messageCount: 0, lastSeq: 12 });
      expect(await mine.retain({ messageRetentionDays: 30 })).toMatchObject({ messages: { hardDeleted: 12 } });
    });

    test('a message that is restored while a history is trimmed is trimmed again, not one of the newest', async () => {
      const [mine, theirs] = both();
      const id = randomUUID();
      const count = 2 * STEP + 50;
      const messages = Array.from({ length: count }, (_, i) => message(id, i + 1, {}));
      await theirs.importConversations(exported([conversation(id, count), ...messages]));
      const own = mine['decideOn'].bind(mine);
      let steps = 0;
      mine['decideOn'] = async (...given) => {
        const decided = await own(...given);
        if (++steps === 2) await theirs.restoreMessage(id, messages[0]!['id'] as string);
        return decided;
      };
      expect(await mine.trimHistory(id, { keep: 10 })).toBe(count - 10 + 1);
      const left = (await mine.listMessages(id)).items.map(({ seq }) => seq);
      expect(left).toEqual(Array.from({ length: 10 }, (_, i) => count - 9 + i));
    });

    test('two that archive what is too much at the same time archive no more than one', async () => {
      const [mine, theirs] = both();
      await add(mine, 40);
      const all = (await mine.listConversations({ limit: 100, order: 'asc' })).items.map(({ id }) => id);
      const policy = { maxConversations: 25 };
      const reports = await Promise.all([mine.retain(policy), theirs.retain(policy)]);
      const archived = reports.map(({ conversations }) => conversations.archived);
      expect(archived.reduce((sum, each) => sum + each)).toBe(15);
      const left = await mine.listConversations({ limit: 100, order: 'asc', includeArchived: false });
      expect(left.items.map(({ id }) => id)).toEqual(all.slice(15));
      expect(await mine.retain(policy)).toMatchObject({ conversations: { archived: 0 } });
    });

    test('conversations that others archive while a run is at it count as archived', async () => {
      const [mine] = both();
      await add(mine, 6);
      const all = (await mine.listConversations({ order: 'asc' })).items.map(({ id }) => id);
      beforeCall(mine['host'].backend, 'write', async () => {
        for (const id of all.slice(3)) await mine.archiveConversation(id);
      });
      expect(await mine.retain({ maxConversations: 2 })).toMatchObject({ conversations: { archived: 1 } });
      const left = await mine.listConversations({ order: 'asc', includeArchived: false });
      expect(left.items.map(({ id }) => id)).toEqual(all.slice(1, 3));
    });

    test('counts no more conversations than it has to, and archives all but the newest', async () => {
      const [mine] = both();
      await add(mine, 12);
      const limits: (number | undefined)[] = [];
      const noted = (_scope: unknown, { limit }: CountRequest): boolean => limits.push(limit) < 0;
      beforeCall(mine['host'].backend, 'count', async () => undefined, noted);
      expect(await mine.retain({ maxConversations: 3 })).toMatchObject({ conversations: { archived: 9 } });
      expect(limits).toEqual([3 + 2 * STEP, ...Array.from({ length: 9 }, () => 3 + 1)]);
    });

    test('a policy that is out of range is refused before anything is changed', async () => {
      const [mine] = both();
      const [id] = await add(mine, 1);
      for (const [key, value] of [
        ['messageRetentionDays', 365_001],
        ['softDeleteGraceDays', Infinity],
        ['conversationArchiveDays', NaN],
        ['archivedConversationRetentionDays', 1e9],
        ['maxConversations', 0.5],
      ] as const) {
        const refused = mine.retain({ softDeleteAfterDays: 30, [key]: value });
        await expect(refused).rejects.toMatchObject({ code: 'VALIDATION', message: expect.stringContaining(key) });
      }
      expect((await mine.listMessages(id!)).items).toHaveLength(1);
      expect(await mine.retain({ softDeleteAfterDays: 365_000, maxConversations: -1 })).toMatchObject({
        messages: { softDeleted: 0 },
        conversations: { archived: 0 },
      });
    });

    test('messages that belong to no conversation do not keep others from being deleted', async () => {
      const [mine] = both();
      const [messageType, status, conversationId] = ['text', 'sent', randomUUID()];
      const rest = { role: 'user', messageType, status, content: 'x', metadata: {}, extra: {}, revisions: 0 };
      await mine['decide']('orphans', {}, (unit) => {
        for (let seq = 1; seq <= STEP; seq++)
          unit.insert(MESSAGES, { conversationId, seq, ...rest }, { createdAt: new Date(LONG_AGO) });
        return Promise.resolve();
      });
      const id = randomUUID();
      await mine.addMessage(id, { content: 'x', createdAt: '2021-01-01' });
      expect(await mine.retain({ softDeleteAfterDays: 30 })).toMatchObject({ messages: { softDeleted: 1 } });
      expect(await mine.retain({ messageRetentionDays: 30 })).toMatchObject({ messages: { hardDeleted: 1 } });
      expect((await mine.listMessages(id, { includeDeleted: true })).items).toEqual([]);
    });
  });

test('what is exactly as old as a policy says stays, a millisecond later it goes', async () => {
  const clock = new ManualClock();
  await using storage = await openManager('memory:', clock);
  const store = storage.conversations;
  const days = 30;
  const age = days * 86_400_000;
  const counts = { messages: { softDeleted: 0, hardDeleted: 0 }, conversations: { archived: 0, deleted: 0 } };
  /** What was just made or marked, by a policy alone: at its age, and a millisecond later. */
  const aged = async (policy: string, gone: object): Promise<void> => {
    clock.jump(age);
    expect([policy, await store.retain({ [policy]: days })]).toMatchObject([policy, counts]);
    clock.jump(1);
    expect([policy, await store.retain({ [policy]: days })]).toMatchObject([policy, gone]);
  };
  const id = randomUUID();
  await store.addMessage(id, { content: 'x' });
  await aged('softDeleteAfterDays', { messages: { softDeleted: 1 } });
  await aged('softDeleteGraceDays', { messages: { hardDeleted: 1 } });
  await store.addMessage(id, { content: 'y' });
  await aged('messageRetentionDays', { messages: { hardDeleted: 1 } });
  await store.addMessage(id, { content: 'z' });
  await aged('conversationArchiveDays', { conversations: { archived: 1 } });
  expect(await store.getConversation(id)).toMatchObject({ archivedAt: clock.now() });
  await aged('archivedConversationRetentionDays', { conversations: { deleted: 1 } });
  expect(await store.getConversation(id)).toBeNull();
});
