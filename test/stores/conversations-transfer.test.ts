/** Conversations exported, imported and counted; retention of what is old. */
import { describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { ConversationStore } from '../../src/index.js';
import { conversation, exported, message } from '../support/exported-conversations.js';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';

const DAY = 86_400_000;
const ago = (days: number): Date => new Date(Date.now() - days * DAY);

async function linesOf(store: ConversationStore): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of store.exportConversations()) lines.push(line);
  return lines;
}

for (const target of storageTargets('conversations: transfer'))
  describe(`transfer and retention of conversations on ${target.name}`, () => {
    const storage = useStorage(target);
    const fresh = (): ConversationStore => storage().tenant(randomUUID()).conversations;

    if (!target.transactions) {
      test('exports and counts, and refuses the rest', async () => {
        const store = fresh();
        await store.ensureUser('ann');
        const lines = await linesOf(store);
        expect(lines).toHaveLength(3);
        expect(await store.statistics()).toMatchObject({ users: 1, conversations: 0 });
        expect(await store.importConversations(lines, { dryRun: true })).toMatchObject({ skipped: { user: 1 } });
        const id = randomUUID();
        const one = exported([conversation(id, 2), message(id, 1), message(id, 2)]);
        expect(await store.importConversations(one, { dryRun: true })).toMatchObject({
          written: { conversation: 1, message: 2 },
          rejected: 0,
        });
        await expect(store.importConversations(lines)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
        await expect(store.retain({ softDeleteAfterDays: 1 })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
        expect(await store.retain({ softDeleteAfterDays: 1 }, { dryRun: true })).toMatchObject({
          messages: { softDeleted: 0 },
        });
      });
      return;
    }

    test('what is exported is there after an import, as it was', async () => {
      const [from, to] = [fresh(), fresh()];
      const [one, two] = [randomUUID(), randomUUID()];
      for (let i = 0; i < 5; i++)
        await from.addMessage(one, {
          content: `ünï ${i}`,
          user: 'ann',
          session: 's',
          createdAt: ago(9 - i),
          clientMessageId: `c${i}`,
        });
      const messages = (await from.listMessages(one)).items;
      await from.editMessage(one, messages[1]!.id, { content: 'edited' }, { triggeredById: 'bob' });
      await from.deleteMessage(one, messages[2]!.id);
      await from.ensureConversation(two, { title: 'Two', metadata: { x: 1 } });
      await from.archiveConversation(two, { at: ago(3) });
      const lines = await linesOf(from);
      const bytes = Buffer.from(lines.join(''));
      const pieces = (function* () {
        for (let i = 0; i < bytes.length; i += 7) yield bytes.subarray(i, i + 7);
      })();
      const written = { user: 1, session: 1, conversation: 2, message: 5, revision: 1 };
      expect(await to.importConversations(lines, { dryRun: true })).toMatchObject({ written, rejected: 0 });
      expect(await to.statistics()).toMatchObject({ messages: 0, users: 0 });
      expect(await to.importConversations(pieces)).toMatchObject({ written, rejected: 0, moved: 0 });
      const strip = (records: readonly object[]): object[] =>
        records.map((record) => ({ ...record, version: 0, tenantId: '', updatedAt: 0 }));
      const all = async (store: ConversationStore): Promise<object[]> => [
        ...strip((await store.listMessages(one, { includeDeleted: true })).items),
        ...strip((await store.listConversations()).items),
        ...strip(await store.listRevisions(one, messages[1]!.id)),
        await store.statistics(),
      ];
      expect(await all(to)).toEqual(await all(from));
      // Again: nothing to do. Replaced: as it was. Or refused.
      expect(await to.importConversations(lines)).toMatchObject({ written: {}, skipped: written });
      await to.editMessage(one, messages[0]!.id, { content: 'other' });
      expect(await to.importConversations(lines, { mode: 'replace' })).toMatchObject({ replaced: written });
      // The revision that was made here stays.
      const [first, ...others] = strip((await from.listMessages(one)).items);
      expect(strip((await to.listMessages(one)).items)).toEqual([{ ...first, revisions: 1 }, ...others]);
      await expect(to.importConversations(lines, { mode: 'fail' })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
      expect(await to.addMessage(one, { content: 'next' })).toMatchObject({ seq: 6 });
    });

    test('an import moves what lost its place, rejects what is no record, and tells a changed export', async () => {
      const [from, to] = [fresh(), fresh()];
      const id = randomUUID();
      const mine = await from.addMessage(id, { content: 'mine' });
      const theirs = await to.addMessage(id, { content: 'theirs' });
      const lines = await linesOf(from);
      const broken = [lines[0]!, '{"kind":"message","id":"x"}\n', 'nonsense\n', ...lines.slice(1)];
      await expect(to.importConversations(broken, { dryRun: true })).rejects.toMatchObject({ code: 'VALIDATION' });
      await expect(to.importConversations(lines.slice(0, -1), { dryRun: true })).rejects.toMatchObject({
        code: 'VALIDATION',
      });
      await expect(to.importConversations(['{"kind":"header"}\n'])).rejects.toMatchObject({ code: 'VALIDATION' });
      expect(await to.importConversations(lines)).toMatchObject({ moved: 1, skipped: { conversation: 1 } });
      expect((await to.listMessages(id)).items.map(({ id: key, seq }) => [key, seq])).toEqual([
        [theirs.id, 1],
        [mine.id, 2],
      ]);
      expect(await to.getConversation(id)).toMatchObject({ messageCount: 2, lastSeq: 2 });
    });

    test('an import under other ids is a copy beside the original, the same each time', async () => {
      const [from, to] = [fresh(), fresh()];
      const id = randomUUID();
      const one = await from.addMessage(id, { content: 'one', user: 'ann', session: 's', clientMessageId: 'c' });
      await from.editMessage(id, one.id, { content: 'two' });
      await from.addMessage(id, { content: 'three', userId: one.userId! });
      const lines = await linesOf(from);
      const ann = await to.ensureUser('ann', { metadata: { mine: true } });
      for (const store of [from, to]) {
        const users = await store.statistics();
        const dry = await store.importConversations(lines, { remapIds: true, dryRun: true });
        const report = await store.importConversations(lines, { remapIds: true });
        expect(report).toEqual(dry);
        expect(report).toMatchObject({ written: { conversation: 1, message: 2, revision: 1 }, rejected: 0 });
        const copy = report.conversationIds![id]!;
        expect(copy).not.toBe(id);
        const messages = (await store.listMessages(copy)).items;
        expect(messages.map(({ content, seq }) => [content, seq])).toEqual([
          ['two', 1],
          ['three', 2],
        ]);
        expect(await store.listRevisions(copy, messages[0]!.id)).toMatchObject([{ content: 'one' }]);
        expect(messages[0]).toMatchObject({ clientMessageId: 'c', createdAt: one.createdAt });
        const userId = store === to ? ann.id : one.userId;
        expect(messages.map((message) => message.userId)).toEqual([userId, userId]);
        const owner = (await store.getConversation(copy))!;
        expect(owner).toMatchObject({ userId, messageCount: 2 });
        expect(await store.getSession(owner.sessionId!)).toMatchObject({ externalId: 's', userId });
        expect((await store.statistics()).users).toBe(users.users);
        expect(await store.importConversations(lines, { remapIds: true })).toMatchObject({ written: {}, rejected: 0 });
      }
      expect((await from.listConversations()).items).toHaveLength(2);
      expect((await to.listConversations()).items).toHaveLength(1);
      expect(await to.getUser(ann.id)).toEqual(ann);
      expect((await from.listMessages(id)).items).toHaveLength(2);
      await expect(from.importConversations(lines, { remapIds: 1 as never })).rejects.toMatchObject({
        code: 'VALIDATION',
      });
    });

    test('retention goes its six steps, and finds nothing the second time', async () => {
      const store = fresh();
      // Those that are made within one millisecond are in the order of their ids.
      const [old, recent, many] = [randomUUID(), randomUUID(), randomUUID()].sort() as [string, string, string];
      for (const days of [50, 20, 1]) await store.addMessage(old, { content: 'x', createdAt: ago(days) });
      await store.addMessage(recent, { content: 'x', createdAt: ago(20) });
      await store.addMessage(recent, { content: 'x' });
      const dead = await store.addMessage(many, { content: 'x', createdAt: ago(9) });
      await store.editMessage(many, dead.id, { content: 'y' });
      const idle = randomUUID();
      await store.addMessage(idle, { content: 'x', createdAt: ago(15) });
      const policy = {
        softDeleteAfterDays: 10,
        messageRetentionDays: 40,
        conversationArchiveDays: 10,
        maxConversations: 2,
      };
      const dry = await store.retain(policy, { dryRun: true });
      expect(dry).toEqual({
        messages: { softDeleted: 4, hardDeleted: 1 },
        conversations: { archived: 2, deleted: 0 },
      });
      const report = await store.retain(policy);
      expect(report).toEqual(dry);
      expect(await store.retain(policy)).toEqual({
        messages: { softDeleted: 0, hardDeleted: 0 },
        conversations: { archived: 0, deleted: 0 },
      });
      expect(await store.getConversation(idle)).toMatchObject({ archivedAt: expect.any(Date), messageCount: 0 });
      expect(await store.getConversation(old)).toMatchObject({
        archivedAt: expect.any(Date),
        messageCount: 1,
        lastSeq: 3,
      });
      expect(
        (await store.listMessages(old, { includeDeleted: true })).items.map(({ seq, status }) => [seq, status]),
      ).toEqual([
        [2, 'deleted'],
        [3, 'sent'],
      ]);
      const [event] = (await store.listMessageEvents({ conversationId: idle })).slice(-1);
      expect(event).toMatchObject({ eventType: 'soft_deleted', metadata: { reason: 'retention' } });
      await store.archiveConversation(many, { at: ago(100) });
      const last = await store.retain({ softDeleteGraceDays: 0, archivedConversationRetentionDays: 8 });
      expect(last).toEqual({
        messages: { softDeleted: 0, hardDeleted: 0 },
        conversations: { archived: 0, deleted: 1 },
      });
      expect(await store.getConversation(many)).toBeNull();
      expect(await store.listRevisions(many, dead.id)).toEqual([]);
      await expect(store.retain({ days: 3 } as never)).rejects.toMatchObject({ code: 'VALIDATION' });
    });
  });
