/** Messages and conversations as large as they may be: they are marked, archived and deleted like all others. */
import { describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { CONVERSATIONS, MESSAGES } from '../../src/adapters/conversations/records.js';
import { LIMITS } from '../../src/backends/limits.js';
import { jsonBytes } from '../../src/backends/value.js';
import type { ConversationStore } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';

const LONG_AGO = '2021-01-01T00:00:00.000Z';

for (const target of storageTargets('conversations: large').filter(({ transactions }) => transactions))
  describe(`messages and conversations of 1 MiB on ${target.name}`, () => {
    const storage = useStorage(target);
    const fresh = (): ConversationStore => storage().tenant(randomUUID()).conversations;

    /** Three messages, of which the second could not be larger by a byte. */
    async function messagesOf(store: ConversationStore, id: string): Promise<string[]> {
      const add = async (content: string): Promise<string> =>
        (await store.addMessage(id, { content, createdAt: LONG_AGO })).id;
      const first = await add('x');
      const room = LIMITS.recordBytes - jsonBytes((await store['records'](MESSAGES).get(first)).value);
      await expect(add('x'.repeat(room + 2))).rejects.toMatchObject({ code: 'VALIDATION' });
      return [first, await add('x'.repeat(room + 1)), await add('z')];
    }

    test('a message is marked as deleted, by a caller, by its age and by the history', async () => {
      const store = fresh();
      const id = randomUUID();
      const ids = await messagesOf(store, id);
      const live = async (): Promise<string[]> => (await store.listMessages(id)).items.map((message) => message.id);
      expect(await store.deleteMessage(id, ids[1]!)).toMatchObject({ status: 'deleted', version: 2 });
      expect(await store.getMessage(id, ids[1]!)).toMatchObject({ status: 'deleted', deletedAt: expect.any(Date) });
      expect(await store.restoreMessage(id, ids[1]!)).toMatchObject({ status: 'sent', version: 3 });
      expect(await live()).toEqual(ids);
      expect(await store.trimHistory(id, { keep: 1 })).toBe(2);
      expect(await live()).toEqual([ids[2]]);
      await store.restoreMessage(id, ids[1]!);
      expect(await store.retain({ softDeleteAfterDays: 30 })).toMatchObject({ messages: { softDeleted: 2 } });
      expect(await live()).toEqual([]);
      expect(await store.retain({ messageRetentionDays: 30 })).toMatchObject({ messages: { hardDeleted: 3 } });
    });

    test('a message is edited and restored, and keeps its former states', async () => {
      const store = fresh();
      const id = randomUUID();
      const [, large] = await messagesOf(store, id);
      const { content, createdAt } = (await store.getMessage(id, large!))!;
      expect(await store.editMessage(id, large!, { content: 'small' })).toMatchObject({ content: 'small', createdAt });
      expect(await store.restoreRevision(id, large!, 1)).toMatchObject({ content, revisions: 2 });
      await expect(store.editMessage(id, large!, { content: `${content as string}x` })).rejects.toMatchObject({
        code: 'VALIDATION',
      });
      expect(await store.listRevisions(id, large!)).toMatchObject([{ revision: 1 }, { revision: 2 }]);
    });

    test('all goes into another tenant as it is, with its marks', async () => {
      const store = fresh();
      const id = randomUUID();
      const [, large] = await messagesOf(store, id);
      await store.editMessage(id, large!, { status: 'read' }, { triggeredById: 'x'.repeat(255) });
      await store.deleteMessage(id, large!, { status: 'x'.repeat(128) });
      const { value } = await store['records'](CONVERSATIONS).get(id);
      const text = 'x'.repeat(LIMITS.recordBytes - jsonBytes(value) - '"text":""'.length);
      await store.ensureConversation(id, { metadata: { text } });
      expect(await store.archiveConversation(id)).toBe(true);
      const renamed = await store.renameConversation(id, '');
      const lines = [];
      for await (const line of store.exportConversations()) lines.push(line);
      const copy = fresh();
      for (const mode of ['skip', 'replace'] as const)
        expect(await copy.importConversations(lines, { mode })).toMatchObject({ rejections: [] });
      expect(await copy.getConversation(id)).toMatchObject({ metadata: { text }, archivedAt: renamed.archivedAt });
      expect(await copy.getMessage(id, large!)).toMatchObject({ status: 'x'.repeat(128), revisions: 1 });
      expect(await copy.listRevisions(id, large!)).toHaveLength(1);
    });

    test('a conversation is archived, unarchived, reset and deleted', async () => {
      const store = fresh();
      const id = randomUUID();
      await store.ensureConversation(id, { metadata: { text: 'x' } });
      const room = LIMITS.recordBytes - jsonBytes((await store['records'](CONVERSATIONS).get(id)).value);
      const metadata = { text: 'x'.repeat(room + 1) };
      expect(await store.ensureConversation(id, { metadata })).toMatchObject({ version: 2 });
      await store.addMessage(id, { content: 'a' });
      await store.ensureConversation(undefined);
      expect(await store.retain({ maxConversations: 1 })).toMatchObject({ conversations: { archived: 1 } });
      expect(await store.getConversation(id)).toMatchObject({ archivedAt: expect.any(Date), metadata });
      expect(await store.unarchiveConversation(id)).toBe(true);
      expect(await store.getConversation(id)).not.toHaveProperty('archivedAt');
      expect(await store.resetConversation(id)).toBe(true);
      expect(await store.getConversation(id)).toMatchObject({ messageCount: 0, metadata });
      expect(await store.getConversation(id)).not.toHaveProperty('lastMessageAt');
      const types = (await store.listEvents(id)).map(({ type }) => type.slice('conversation.'.length));
      expect(types).toEqual(['created', 'updated', 'archived', 'unarchived', 'reset']);
      expect(await store.archiveConversation(id)).toBe(true);
      expect(await store.deleteConversation(id)).toBe(true);
    });
  });
