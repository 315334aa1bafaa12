/** Imports over what is there: what was written here meanwhile stays true. */
import { describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { ConversationStore } from '../../src/index.js';
import { conversation, exported, message } from '../support/exported-conversations.js';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';

async function linesOf(store: ConversationStore): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of store.exportConversations()) lines.push(line);
  return lines;
}

for (const target of storageTargets('conversations: merge').filter(({ transactions }) => transactions))
  describe(`imports over conversations that are there on ${target.name}`, () => {
    const storage = useStorage(target);
    const fresh = (): ConversationStore => storage().tenant(randomUUID()).conversations;

    test('one that replaces a conversation does not make it older than its last message', async () => {
      const store = fresh();
      const id = randomUUID();
      await store.addMessage(id, { content: 'old', createdAt: '2020-01-01' });
      const lines = await linesOf(store);
      const { createdAt } = await store.addMessage(id, { content: 'new' });
      await store.importConversations(lines, { mode: 'replace' });
      expect(await store.getConversation(id)).toMatchObject({ lastMessageAt: createdAt, activeAt: createdAt });
      expect(await store.retain({ conversationArchiveDays: 30 })).toMatchObject({ conversations: { archived: 0 } });
      // What is newer in the export is taken over.
      const activeAt = new Date('2035-01-01');
      const newer = exported([conversation(id, 2, { activeAt, lastMessageAt: activeAt })]);
      await store.importConversations(newer, { mode: 'replace' });
      expect(await store.getConversation(id)).toMatchObject({ lastMessageAt: activeAt, activeAt });
    });

    test('revisions that were made before a message was replaced keep their numbers', async () => {
      const store = fresh();
      const id = randomUUID();
      const { id: edited } = await store.addMessage(id, { content: 'v0' });
      const lines = await linesOf(store);
      await store.editMessage(id, edited, { content: 'v1' });
      await store.editMessage(id, edited, { content: 'v2' });
      await store.importConversations(lines, { mode: 'replace' });
      expect(await store.getMessage(id, edited)).toMatchObject({ content: 'v0', revisions: 2 });
      await store.editMessage(id, edited, { content: 'v3' });
      const revisions = await store.listRevisions(id, edited);
      expect(revisions.map(({ revision, content }) => [revision, content])).toEqual([
        [1, 'v0'],
        [2, 'v1'],
        [3, 'v0'],
      ]);
      expect(await store.restoreRevision(id, edited, 2)).toMatchObject({ content: 'v1', revisions: 4 });
    });

    test('of two revisions of one number the newest is restored', async () => {
      const store = fresh();
      const [id, edited] = [randomUUID(), randomUUID()];
      const revisions = ['older', 'newer'].map((content, i) => {
        const state = { content, metadata: {}, extra: {}, messageType: 'text', status: 'sent' };
        const editedAt = new Date(Date.UTC(2025, 1, 1 + i));
        const value = { ...state, conversationId: id, messageId: edited, revision: 1, editedAt };
        return { kind: 'revision', id: `0189000${i}-0000-7000-8000-000000000000`, createdAt: editedAt, value };
      });
      await store.importConversations(
        exported([conversation(id, 1), message(id, 1, { revisions: 1 }, edited), ...revisions]),
      );
      expect(await store.restoreRevision(id, edited, 1)).toMatchObject({ content: 'newer' });
    });

    test('a message that is skipped takes no former state that it never had, and those that a cut kept from it', async () => {
      const [from, to] = [fresh(), fresh()];
      const id = randomUUID();
      const { id: edited } = await from.addMessage(id, { content: 'v0' });
      await to.importConversations(await linesOf(from));
      for (const content of ['v1', 'v2']) await from.editMessage(id, edited, { content });
      const skipped = { message: 1, conversation: 1, revision: 2 };
      expect(await to.importConversations(await linesOf(from))).toMatchObject({ written: {}, skipped });
      expect(await to.listRevisions(id, edited)).toEqual([]);
      await to.editMessage(id, edited, { content: 'mine' });
      await to.importConversations(await linesOf(from));
      expect((await to.listRevisions(id, edited)).map(({ content }) => content)).toEqual(['v0']);
      await expect(to.restoreRevision(id, edited, 2)).rejects.toMatchObject({ code: 'NOT_FOUND' });

      // Cut short after the message, and edited before it is repeated.
      const cut = fresh();
      const lines = await linesOf(from);
      const until = lines.findIndex((line) => line.includes('"kind":"message"')) + 1;
      await expect(cut.importConversations(lines.slice(0, until))).rejects.toMatchObject({ code: 'VALIDATION' });
      await cut.editMessage(id, edited, { content: 'v3' });
      expect(await cut.importConversations(lines)).toMatchObject({ written: { revision: 2 }, skipped: { message: 1 } });
      expect((await cut.listRevisions(id, edited)).map(({ content }) => content)).toEqual(['v0', 'v1', 'v2']);
    });

    test('a dry run tells what the run does, also of names that others have', async () => {
      const [from, to] = [fresh(), fresh()];
      const [id, other] = [randomUUID(), randomUUID()];
      await from.addMessage(id, { content: 'a', user: 'ann', session: 's', clientMessageId: 'c' });
      await from.addMessage(id, { content: 'b', user: 'bob' });
      await from.ensureConversation(other, { metadata: { large: 'x'.repeat(1_040_000) } });
      await to.ensureUser('ann');
      await to.ensureSession('s');
      await to.addMessage(id, { content: 'here', clientMessageId: 'c' });
      const records = (await linesOf(from)).slice(1, -1).map((line) => JSON.parse(line) as { kind: string });
      // So large that it cannot be kept, and with it its message.
      const large = records.find((record) => 'id' in record && record.id === other) as never as {
        value: { metadata: { large: string } };
      };
      large.value.metadata.large += 'x'.repeat(20_000);
      const lines = exported([...records, message(other, 1)]);
      const dry = await to.importConversations(lines, { dryRun: true });
      expect(dry).toMatchObject({ written: { user: 1, message: 1 }, skipped: { conversation: 1 }, rejected: 5 });
      const { rejections, ...counts } = dry;
      const report = await to.importConversations(lines);
      expect(report).toMatchObject(counts);
      expect(report.rejections.map(({ line }) => line)).toEqual(rejections.map(({ line }) => line));
      const first = exported(records.filter(({ kind }) => kind === 'user'));
      const failing = { mode: 'fail', dryRun: true } as const;
      await expect(to.importConversations(first, failing)).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    });
  });
