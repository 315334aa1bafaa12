/** One agent over the stores: what it knows, its tasks, its conversations, and all of them in one transaction. */
import { describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { openStorage } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';

for (const target of storageTargets('an agent').filter(({ transactions }) => transactions))
  describe(`an agent on ${target.name}`, () => {
    const storage = useStorage(target);

    test('has its states, its tasks and its conversations, and no other agent has them', async () => {
      const [planner, other] = [storage().agent('planner'), storage().agent('other')];
      const conversation = randomUUID();
      expect((await planner.listConversations()).items).toEqual([]);
      await planner.saveState('goal', { text: 'sail' });
      const task = await planner.createTask({ title: 'hoist' });
      await planner.addMessage(conversation, { content: 'Ahoy' });
      await other.addMessage(randomUUID(), { content: 'Hm' });

      expect(await planner.getState('goal')).toMatchObject({ agentId: 'planner', state: { text: 'sail' } });
      expect((await planner.listTasks()).items.map(({ id }) => id)).toEqual([task.id]);
      expect((await planner.listConversations()).items.map(({ id }) => id)).toEqual([conversation]);
      expect((await other.listTasks()).items).toEqual([]);
      expect(await other.findState('goal')).toBeUndefined();
      expect((await storage().tenant('acme').agent('planner').listTasks()).items).toEqual([]);
      expect(await storage().tasks.get(task.id)).toMatchObject({ ownerId: planner.ownerId });
    });

    test('answers in a conversation of a user, which stays the user’s', async () => {
      const tenant = storage().tenant(randomUUID());
      const { conversations } = tenant;
      const [id, loose] = [randomUUID(), randomUUID()];
      const ann = await conversations.ensureUser('ann');
      const web = await conversations.ensureSession('web', { userId: ann.id });
      await conversations.addMessage(id, { role: 'user', content: 'Help', session: 'web' });
      const helper = tenant.agent('helper');
      await helper.addMessage(id, { content: 'Of course' });
      expect(await conversations.getConversation(id)).toMatchObject({ sessionId: web.id, userId: ann.id, lastSeq: 2 });
      expect((await helper.listConversations()).items).toEqual([]);
      // One of no session becomes the agent's, and goes to the user who writes to it.
      await conversations.addMessage(loose, { content: 'Anyone?' });
      await helper.addMessage(loose, { content: 'Here' });
      expect((await helper.listConversations()).items).toMatchObject([{ id: loose }]);
      await conversations.addMessage(loose, { content: 'Fine', session: 'web' });
      expect(await conversations.getConversation(loose)).toMatchObject({ sessionId: web.id, userId: ann.id });
    });

    test('answers in the conversations of several users, in their names, and becomes none’s', async () => {
      const tenant = storage().tenant(randomUUID());
      const { conversations } = tenant;
      const helper = tenant.agent('helper');
      for (const user of ['ann', 'ben']) {
        const id = randomUUID();
        const { userId } = await conversations.addMessage(id, { content: 'Help', user, session: `web-${user}` });
        expect(await helper.addMessage(id, { content: 'So', user })).toMatchObject({ userId, seq: 2 });
        expect(await conversations.getConversation(id)).toMatchObject({ userId, messageCount: 2 });
      }
      expect((await conversations.statistics()).sessions).toBe(2);
      expect((await helper.listConversations()).items).toEqual([]);
    });

    test('changes all of them at once, or none', async () => {
      const sailor = storage().agent('sailor');
      const conversation = randomUUID();
      const work = (fault?: Error): Promise<void> =>
        sailor.transaction(async (agent) => {
          await agent.saveState('mood', { calm: true });
          await agent.createTask({ title: 'steer' });
          await agent.addMessage(conversation, { content: 'Ready' });
          if (fault !== undefined) throw fault;
        });
      await expect(work(new Error('storm'))).rejects.toThrow('storm');
      expect(await sailor.findState('mood')).toBeUndefined();
      expect((await sailor.listTasks()).items).toEqual([]);
      expect((await sailor.listConversations()).items).toEqual([]);
      await work();
      expect(await sailor.getState('mood')).toMatchObject({ state: { calm: true } });
      expect((await sailor.listTasks()).items).toHaveLength(1);
      expect((await sailor.listConversations()).items).toHaveLength(1);
    });
  });

test('an agent has an id', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  for (const wrong of ['', 1, 'x'.repeat(256), undefined])
    expect(() => storage.agent(wrong as never)).toThrow(/agentId: expected/);
});
