/** What a process knows of a conversation is not what is true once another has written to it. */
import { describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConversationStore } from '../../src/index.js';
import { storageTargets, type StorageTarget } from '../support/storage-targets.js';
import { useTwoStorages } from '../support/use-storage.js';

const file: Pick<StorageTarget, 'name' | 'server' | 'prepare'> = {
  name: 'a file of sqlite',
  server: true,
  async prepare() {
    const directory = await mkdtemp(join(tmpdir(), 'conversations-'));
    return { url: `sqlite:${join(directory, 'data.db')}`, drop: () => rm(directory, { recursive: true }) };
  },
};
const shared = storageTargets('conversations: stale').filter(({ server, transactions }) => server && transactions);

for (const target of [...shared, file])
  describe(`two managers on ${target.name}`, () => {
    const managers = useTwoStorages(target, {
      databases: { side: 'memory:' },
      vectors: { default: 'memory', memory: { database: 'side' } },
    });
    const both = (): [ConversationStore, ConversationStore] => {
      const tenant = randomUUID();
      return managers().map((manager) => manager.tenant(tenant).conversations) as [
        ConversationStore,
        ConversationStore,
      ];
    };
    const contents = async (store: ConversationStore, id: string): Promise<unknown[]> =>
      (await store.listMessages(id)).items.map(({ content, seq }) => [content, seq]);

    test('an append after another manager wrote comes after that, and keeps what it wrote', async () => {
      const [mine, theirs] = both();
      const id = randomUUID();
      await mine.addMessage(id, { content: 'one' });
      await theirs.addMessage(id, { content: 'two', createdAt: '2090-01-01' });
      await theirs.renameConversation(id, 'theirs');
      await theirs.archiveConversation(id);
      expect(await mine.addMessage(id, { content: 'three' })).toMatchObject({ seq: 3 });
      expect(await theirs.addMessage(id, { content: 'four' })).toMatchObject({ seq: 4 });
      expect(await mine.getConversation(id)).toMatchObject({
        title: 'theirs',
        archivedAt: expect.any(Date),
        messageCount: 4,
        lastSeq: 4,
        lastMessageAt: new Date('2090-01-01'),
      });
      expect(await contents(mine, id)).toEqual([
        ['one', 1],
        ['two', 2],
        ['three', 3],
        ['four', 4],
      ]);
    });

    test('an append to a conversation that another manager deleted makes it anew', async () => {
      const [mine, theirs] = both();
      const id = randomUUID();
      await mine.addMessage(id, { content: 'one' });
      await mine.addMessage(id, { content: 'two' });
      expect(await theirs.deleteConversation(id)).toBe(true);
      expect(await mine.addMessage(id, { content: 'three' })).toMatchObject({ seq: 3 });
      expect(await mine.getConversation(id)).toMatchObject({ messageCount: 1, lastSeq: 3, version: 1 });
      expect(await contents(theirs, id)).toEqual([['three', 3]]);
    });

    test.each([1, 2, 3])('one that was made anew meanwhile, with %i messages, is gone on with', async (count) => {
      const [mine, theirs] = both();
      const id = randomUUID();
      // As many as it will have, so that version and counts are the same, and a later time.
      await mine.addMessage(id, { content: 'old', createdAt: '2090-01-01' });
      await theirs.deleteConversation(id);
      for (let i = 1; i <= count; i++) await theirs.addMessage(id, { content: `new ${i}`, createdAt: '2020-01-01' });
      const time = new Date('2021-01-01');
      expect(await mine.addMessage(id, { content: 'mine', createdAt: time })).toMatchObject({ seq: count + 2 });
      const remade = { messageCount: count + 1, lastSeq: count + 2, lastMessageAt: time, activeAt: time };
      expect(await theirs.getConversation(id)).toMatchObject(remade);
      expect(await contents(theirs, id)).toHaveLength(count + 1);
    });

    test('edits of both are kept, and a deletion counts once', async () => {
      const [mine, theirs] = both();
      const id = randomUUID();
      const { id: message } = await mine.addMessage(id, { content: 'one' });
      await theirs.editMessage(id, message, { metadata: { theirs: 1 } });
      await mine.editMessage(id, message, { metadata: { mine: 1 } });
      expect(await theirs.getMessage(id, message)).toMatchObject({ metadata: { theirs: 1, mine: 1 }, revisions: 2 });
      await theirs.deleteMessage(id, message);
      await mine.deleteMessage(id, message);
      expect(await mine.getConversation(id)).toMatchObject({ messageCount: 0, lastSeq: 1 });
      await theirs.purgeMessage(id, message);
      await expect(mine.editMessage(id, message, { content: 'x' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });

    test('vectors of a conversation that was made anew are deleted with it', async () => {
      const [mine, theirs] = both();
      const id = randomUUID();
      const old = await mine.addMessage(id, { content: 'old' });
      await mine.upsertMessageVectors(old.id, [{ embedding: [1, 0] }]);
      await theirs.deleteConversation(id);
      const made = await theirs.addMessage(id, { content: 'new' });
      await mine.upsertMessageVectors(made.id, [{ embedding: [0, 1] }]);
      expect(await mine.listMessageVectors({ messageId: made.id })).toHaveLength(1);
      await mine.deleteConversation(id);
      expect(await mine.listMessageVectors({ messageId: made.id })).toEqual([]);
    });
  });
