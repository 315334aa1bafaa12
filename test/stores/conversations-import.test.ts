/** Imports into conversations that others write to, and of lines that are not as an export has them. */
import { describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { ConversationStore } from '../../src/index.js';
import { conversation, exported, message } from '../support/exported-conversations.js';
import { storageTargets } from '../support/storage-targets.js';
import { useTwoStorages } from '../support/use-storage.js';

async function contentsOf(store: ConversationStore, id: string): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const { content } of store.streamMessages(id, { includeDeleted: true })) found.push(content);
  return found;
}
const seqs = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const contents = (from: number, to: number): string[] => seqs(from, to).map((seq) => `a${seq}`);

for (const target of storageTargets('conversations: import').filter(({ transactions }) => transactions))
  describe(`imports of conversations on ${target.name}`, () => {
    const managers = useTwoStorages(target);
    const fresh = (): ConversationStore => managers()[0].tenant(randomUUID()).conversations;

    if (target.server)
      test('nothing is left of a conversation that is deleted between two batches of its import', async () => {
        const tenant = randomUUID();
        const [mine, theirs] = managers().map((manager) => manager.tenant(tenant).conversations);
        const id = randomUUID();
        const deleted = { deletedAt: new Date('2025-02-01'), deletedStatus: 'sent' };
        const lines = [conversation(id, 450), ...seqs(1, 450).map((seq) => message(id, seq, deleted))];
        const own = mine!['decideOn'].bind(mine!);
        let decisions = 0;
        // Deletes it when the second batch has read what it stands on, and is not written yet.
        mine!['decideOn'] = (operation, key, options, plan) =>
          own(operation, key, options, async (unit, ...rest) => {
            const decided = await plan(unit, ...rest);
            if (++decisions === 2) expect(await theirs!.deleteConversation(id)).toBe(true);
            return decided;
          });
        expect(await mine!.importConversations(exported(lines))).toMatchObject({
          written: { conversation: 1, message: 199 },
          rejected: 251,
        });
        expect(await contentsOf(theirs!, id)).toEqual([]);
        expect(await theirs!.statistics()).toMatchObject({ conversations: 0, deletedMessages: 0 });
      });

    test('a batch that is only of deleted messages is told, and one that brings nothing is not', async () => {
      const store = fresh();
      const id = randomUUID();
      const { version } = await store.ensureConversation(id);
      const lines = exported([message(id, 1, { deletedAt: new Date('2025-02-01') })]);
      await store.importConversations(lines);
      const after = (await store.getConversation(id))!;
      expect(after).toMatchObject({ version: version + 1, messageCount: 0, lastSeq: 1 });
      expect(await store.importConversations(lines)).toMatchObject({ skipped: { message: 1 } });
      expect(await store.getConversation(id)).toEqual(after);
    });

    test('what stands twice in an import is there already when it comes again', async () => {
      const store = fresh();
      const [id, twice] = [randomUUID(), randomUUID()];
      const records = [
        ...[conversation(id, 3), message(id, 1), message(id, 2, {}, twice)],
        ...[message(id, 2, { content: 'again' }, twice), message(id, 3)],
      ];
      const lines = exported(records);
      const counts = { written: { conversation: 1, message: 3 }, skipped: { message: 1 }, rejected: 0, moved: 0 };
      expect(await store.importConversations(lines)).toMatchObject(counts);
      expect(await contentsOf(store, id)).toEqual(contents(1, 3));
      expect(await store.getConversation(id)).toMatchObject({ messageCount: 3, lastSeq: 3 });
      const other = fresh();
      expect(await other.importConversations(lines, { mode: 'replace' })).toMatchObject({ replaced: { message: 1 } });
      expect(await contentsOf(other, id)).toEqual(['a1', 'again', 'a3']);
      await expect(fresh().importConversations(lines, { mode: 'fail' })).rejects.toMatchObject({
        code: 'ALREADY_EXISTS',
        details: { existingId: twice },
      });
      // Two of one place: it is the first one's.
      const third = fresh();
      expect(
        await third.importConversations(exported([conversation(id, 1), message(id, 1), message(id, 1)])),
      ).toMatchObject({ moved: 1 });
      expect((await third.listMessages(id)).items.map(({ seq }) => seq)).toEqual([1, 2]);
    });

    test('a merge keeps the order of what it brings, and is the same when it is repeated', async () => {
      const store = fresh();
      const id = randomUUID();
      const common = [conversation(id, 510), ...seqs(1, 10).map((seq) => message(id, seq))];
      await store.importConversations(exported([conversation(id, 10), ...common.slice(1)]));
      for (const content of ['b1', 'b2', 'b3']) await store.addMessage(id, { content, createdAt: '2024-06-01' });
      const lines = [...common, ...seqs(11, 510).map((seq) => message(id, seq))];
      // The first time it is cut short, in the middle of the second batch.
      const cut = exported(lines).slice(0, 300);
      await expect(store.importConversations(cut)).rejects.toMatchObject({ code: 'VALIDATION' });
      const report = await store.importConversations(exported(lines));
      expect(report).toMatchObject({ skipped: { conversation: 1 }, rejected: 0 });
      expect(await contentsOf(store, id)).toEqual([...contents(1, 10), 'b1', 'b2', 'b3', ...contents(11, 510)]);
      expect(await store.getConversation(id)).toMatchObject({ messageCount: 513, lastSeq: 513 });
      await store.importConversations(exported(lines), { mode: 'replace' });
      expect(await contentsOf(store, id)).toEqual([...contents(1, 10), 'b1', 'b2', 'b3', ...contents(11, 510)]);
    });

    test('a merge tells when the conversation was last written to', async () => {
      const store = fresh();
      const id = randomUUID();
      await store.importConversations(exported([conversation(id, 1), message(id, 1)]));
      const first = new Date(Date.UTC(2025, 0, 1) + 1_000);
      expect(await store.getConversation(id)).toMatchObject({ lastMessageAt: first, activeAt: first });
      await store.importConversations(exported([conversation(id, 2), message(id, 2)]));
      const second = new Date(Date.UTC(2025, 0, 1) + 2_000);
      expect(await store.getConversation(id)).toMatchObject({ lastMessageAt: second, activeAt: second });
    });

    test('every revision is there, also of a message that was edited more than a thousand times', async () => {
      const store = fresh();
      const [id, edited] = [randomUUID(), randomUUID()];
      const count = 1_005;
      const state = { content: 'x', metadata: {}, extra: {}, messageType: 'text', status: 'sent' };
      const revisions = seqs(1, count).map((revision) => {
        const value = { ...state, conversationId: id, messageId: edited, revision, editedAt: new Date('2025-02-01') };
        return { kind: 'revision', id: randomUUID(), createdAt: value.editedAt, value };
      });
      const lines = [conversation(id, 1), message(id, 1, { revisions: count }, edited), ...revisions];
      expect(await store.importConversations(exported(lines))).toMatchObject({ written: { revision: count } });
      const found = await store.listRevisions(id, edited);
      expect(found.map(({ revision }) => revision)).toEqual(seqs(1, count));
    });

    test('a message that is another conversation’s is not taken over', async () => {
      const store = fresh();
      const [id, other] = [randomUUID(), randomUUID()];
      const { id: taken } = await store.addMessage(other, { content: 'theirs' });
      const lines = exported([conversation(id, 1), message(id, 1, {}, taken)]);
      expect(await store.importConversations(lines, { mode: 'replace' })).toMatchObject({ rejected: 1 });
      expect(await contentsOf(store, other)).toEqual(['theirs']);
    });

    test('what names a user or a session that an import could not take names nobody', async () => {
      const [from, store] = [fresh(), fresh()];
      const id = randomUUID();
      const { userId } = await from.addMessage(id, { content: 'a', user: 'ann', session: 'web' });
      await from.addMessage(id, { content: 'b', user: 'bob' });
      const lines: string[] = [];
      for await (const line of from.exportConversations()) lines.push(line);
      const here = await store.ensureUser('ann');
      expect(await store.importConversations(lines)).toMatchObject({ rejected: 1, written: { user: 1, session: 1 } });
      const bob = (await store.getUserProfile('bob'))!.userId;
      const messages = (await store.listMessages(id)).items;
      expect(messages.map((one) => [one.content, one.userId])).toEqual([
        ['a', undefined],
        ['b', bob],
      ]);
      const { sessionId, ...rest } = (await store.getConversation(id))!;
      expect(rest).not.toHaveProperty('userId');
      expect(await store.findSession('web')).toMatchObject({ id: sessionId });
      expect(await store.findSession('web')).not.toHaveProperty('userId');
      expect(here.id).not.toBe(userId);
    });
  });
