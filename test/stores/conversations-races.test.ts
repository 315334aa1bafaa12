/** Decisions about conversations whose reads are not of one moment: what others do between them, and before the write. */
import { describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { ConversationStore } from '../../src/index.js';
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
  });
