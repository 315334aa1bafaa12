/** Decisions about conversations whose reads are not of one moment: what others do between them, and before the write. */
import { describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { ENDED } from '../../src/adapters/conversations/ended.js';
import type { ConversationStore, StoreEvent } from '../../src/index.js';
import { conversation, exported, message } from '../support/exported-conversations.js';
import { beforeCall } from '../support/held-call.js';
import { storageTargets } from '../support/storage-targets.js';
import { useTwoStorages } from '../support/use-storage.js';

for (const target of storageTargets('conversations: races').filter(({ transactions }) => transactions))
  describe(`conversations that others write to between two steps on ${target.name}`, () => {
    const managers = useTwoStorages(target);
    const both = (): [ConversationStore, ConversationStore] => {
      const tenant = randomUUID();
      return managers().map((manager) => manager.tenant(tenant).conversations) as [
        ConversationStore,
        ConversationStore,
      ];
    };

    test('a user and its session that another message makes between the reads of them are found', async () => {
      const [mine, theirs] = both();
      const named = { user: 'ann', session: 'web' };
      await theirs.addMessage(randomUUID(), { content: 'other', user: 'bob', session: 'desk' });
      beforeCall(
        mine['host'].backend,
        'find',
        () => theirs.addMessage(randomUUID(), { content: 'theirs', ...named }),
        (_scope, { collection }) => collection.name === 'qm_sessions',
      );
      const added = await mine.addMessage(randomUUID(), { content: 'mine', ...named });
      expect(added.userId).toBe((await theirs.getUserProfile('ann'))!.userId);
      await expect(mine.addMessage(randomUUID(), { content: 'x', user: 'new', session: 'desk' })).rejects.toMatchObject(
        { code: 'CONFLICT', details: { reason: 'rebind' } },
      );
    });

    const creations: Readonly<Record<string, (store: ConversationStore, id: string) => Promise<unknown>>> = {
      addMessage: (store, id) => store.addMessage(id, { content: 'mine' }),
      ensureConversation: async (store, id) => {
        await store.ensureConversation(id, { title: 'mine' });
        await store.addMessage(id, { content: 'mine' });
      },
      importConversations: (store, id) => store.importConversations(exported([conversation(id, 1), message(id, 1)])),
    };
    // In one process they would wait for one another.
    if (target.server)
      test.each(Object.entries(creations))('%s gives no seq that one that came and went had', async (_name, create) => {
        const [mine, theirs] = both();
        const id = randomUUID();
        await mine.addMessage(randomUUID(), { content: 'the tables are there' });
        const before: StoreEvent[] = [];
        beforeCall(mine['host'].backend, 'write', async () => {
          for (const content of ['a', 'b', 'c']) await theirs.addMessage(id, { content });
          before.push(...(await theirs.listEvents(id)));
          await theirs.deleteConversation(id);
        });
        await create(mine, id);
        const next = await mine.addMessage(id, { content: 'next' });
        const [gone, ...events] = await theirs.listEvents(id);
        expect(gone).toMatchObject({ type: 'conversation.deleted' });
        expect(before).toHaveLength(4);
        expect(next.seq).toBeGreaterThan(3);
        expect(events[0]).toMatchObject({ type: 'conversation.created' });
        expect(events[0]!.seq).toBeGreaterThan(gone!.seq);
        expect(gone!.seq).toBeGreaterThan(before.at(-1)!.seq);
      });

    test('nothing stays of what a conversation was made with but what it is made of', async () => {
      const [mine] = both();
      const id = randomUUID();
      await mine.addMessage(id, { content: 'a' });
      expect(await mine['records'](ENDED).find(id)).toBeUndefined();
      await mine.deleteConversation(id);
      expect(await mine['records'](ENDED).find(id)).toMatchObject({ value: { lastSeq: 1 } });
      expect(await mine.addMessage(id, { content: 'b' })).toMatchObject({ seq: 2 });
    });
  });
