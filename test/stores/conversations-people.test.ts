/** Users and sessions deleted, with what named them; the tenants that there are; histories trimmed. */
import { describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { ConversationStore } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';

const LIMIT = 4;

for (const target of storageTargets('conversations: people'))
  describe(`people and histories of conversations on ${target.name}`, () => {
    const storage = useStorage(target, { conversations: { historyLimit: LIMIT } });
    const fresh = (): ConversationStore => storage().tenant(randomUUID()).conversations;

    test('a user goes with its sessions, once; another version is refused', async () => {
      const [store, other] = [fresh(), fresh()];
      const [ann, bob] = [await store.ensureUser('ann'), await store.ensureUser('bob')];
      const session = await store.ensureSession('one', { userId: ann.id });
      const kept = await store.ensureSession('two', { userId: bob.id });
      await expect(store.deleteUser(ann.id, { ifVersion: 9 })).rejects.toMatchObject({ code: 'CONFLICT' });
      expect(await other.deleteUser(ann.id)).toBe(false);
      expect(await store.getSession(session.id)).toMatchObject({ userId: ann.id });
      expect(await store.deleteUser(ann.id, { ifVersion: ann.version })).toBe(true);
      expect(await store.deleteUser(ann.id)).toBe(false);
      await expect(store.getUser(ann.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(store.getSession(session.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      expect(await store.deleteSession(kept.id, { ifVersion: kept.version })).toBe(true);
      expect(await store.deleteSession(kept.id)).toBe(false);
      expect(await store.getUser(bob.id)).toEqual(bob);
      expect(await store.statistics()).toMatchObject({ users: 1, sessions: 0 });
      // Its name is free again.
      expect((await store.ensureUser('ann')).id).not.toBe(ann.id);
    });

    test('bad arguments are named, and nothing is done', async () => {
      const store = fresh();
      const user = await store.ensureUser('ann');
      const calls: readonly [() => Promise<unknown>, string][] = [
        [() => store.deleteUser('x'), 'id'],
        [() => store.deleteUser(user.id, { ifVersion: 0 }), 'options.ifVersion'],
        [() => store.deleteUser(user.id, { force: true } as never), 'options.force'],
        [() => store.deleteSession(7 as never), 'id'],
        [() => store.deleteSession(user.id, { cascade: true } as never), 'options.cascade'],
        [() => store.trimHistory('x'), 'conversationId'],
        [() => store.trimHistory(user.id, { keep: 0 }), 'options.keep'],
        [() => store.trimHistory(user.id, { most: 1 } as never), 'options.most'],
        [() => storage().conversations.listTenants({ all: true } as never), 'options.all'],
        [() => store.listTenants(), 'listTenants'],
        [() => storage().tenant('default').conversations.listTenants(), 'listTenants'],
      ];
      for (const [call, key] of calls)
        await expect(call()).rejects.toMatchObject({ code: 'VALIDATION', message: expect.stringContaining(key) });
      expect(await store.getUser(user.id)).toEqual(user);
    });

    test('of two who change a profile that both have read the later one is told', async () => {
      const store = fresh();
      const stale = { code: 'CONFLICT', details: { reason: 'version', version: 2 } };
      const made = await store.upsertUserProfile('ann', { profile: { a: 1 } });
      expect(made).toMatchObject({ version: 1 });
      const { version } = (await store.getUserProfile('ann'))!;
      const changed = await store.upsertUserProfile('ann', { profile: { b: 2 } }, { ifVersion: version });
      expect(changed).toMatchObject({ profile: { b: 2 }, version: 2 });
      for (const profile of [{ c: 3 }, { b: 2 }])
        await expect(store.upsertUserProfile('ann', { profile }, { ifVersion: version })).rejects.toMatchObject(stale);
      expect((await store.listUserProfiles()).items).toEqual([changed]);
      const gone = store.upsertUserProfile('bob', {}, { ifVersion: 1 });
      await expect(gone).rejects.toMatchObject({ code: 'NOT_FOUND', details: { id: 'bob' } });
      expect(await store.getUserProfile('bob')).toBeNull();
    });

    if (!target.transactions) {
      test('without conversations there are no tenants, and no history', async () => {
        expect(await storage().conversations.listTenants()).toEqual([]);
        await expect(fresh().trimHistory(randomUUID())).rejects.toMatchObject({ code: 'UNSUPPORTED' });
      });
      return;
    }

    test('what named a user or a session stays, and names it no more', async () => {
      const [store, other] = [fresh(), fresh()];
      const [one, two] = [randomUUID(), randomUUID()];
      for (const each of [store, other]) {
        await each.addMessage(one, { content: 'a', user: 'ann', session: 's1' });
        await each.addMessage(one, { content: 'b', user: 'bob' });
        await each.addMessage(two, { content: 'c', user: 'bob', session: 's2' });
      }
      const { sessionId, userId } = (await store.getConversation(one))!;
      const bob = (await store.getUserProfile('bob'))!.userId;
      const before = await Promise.all([other.getConversation(one), other.listMessages(one)]);
      expect(await store.deleteSession(sessionId!)).toBe(true);
      expect(await store.getConversation(one)).toMatchObject({ userId, messageCount: 2 });
      expect(await store.getConversation(one)).not.toHaveProperty('sessionId');
      expect(await store.deleteUser(bob)).toBe(true);
      expect(await store.getConversation(two)).not.toHaveProperty('userId');
      expect(await store.getConversation(two)).not.toHaveProperty('sessionId');
      expect((await store.listConversations({ userId: bob })).items).toEqual([]);
      expect((await store.listMessages(one)).items.map((message) => [message.content, message.userId])).toEqual([
        ['a', userId],
        ['b', undefined],
      ]);
      expect(await store.statistics()).toMatchObject({ users: 1, sessions: 0, conversations: 2, messages: 3 });
      // What was known of the conversation is not written back.
      expect(await store.addMessage(one, { content: 'd' })).toMatchObject({ seq: 3 });
      expect(await store.getConversation(one)).not.toHaveProperty('sessionId');
      expect(await Promise.all([other.getConversation(one), other.listMessages(one)])).toEqual(before);
    });

    test('a deletion that is rolled back did not happen', async () => {
      const tenant = storage().tenant(randomUUID());
      const store = tenant.conversations;
      const id = randomUUID();
      const { userId } = await store.addMessage(id, { content: 'a', user: 'ann', session: 's' });
      const before = await Promise.all([store.getConversation(id), store.listMessages(id), store.getUser(userId!)]);
      const work = tenant.transaction(async (tx) => {
        expect(await tx.conversations.deleteUser(userId!)).toBe(true);
        await expect(tx.conversations.getUser(userId!)).rejects.toMatchObject({ code: 'NOT_FOUND' });
        throw new Error('no');
      });
      await expect(work).rejects.toThrow('no');
      expect(await Promise.all([store.getConversation(id), store.listMessages(id), store.getUser(userId!)])).toEqual(
        before,
      );
    });

    test('a conversation is whose session it takes, and nobody’s with a session of nobody', async () => {
      const store = fresh();
      const [added, ensured] = [randomUUID(), randomUUID()];
      const nobody = await store.ensureSession('nobody');
      for (const id of [added, ensured]) await store.addMessage(id, { content: 'a', user: 'ann', session: 's1' });
      const { userId } = (await store.getConversation(added))!;
      expect(userId).toBeDefined();
      await store.addMessage(added, { content: 'b', session: 'nobody' });
      await store.ensureConversation(ensured, { sessionId: nobody.id });
      for (const id of [added, ensured]) {
        const left = await store.getConversation(id);
        expect(left).toMatchObject({ sessionId: nobody.id });
        expect(left).not.toHaveProperty('userId');
      }
      expect((await store.listConversations({ userId: userId! })).items).toEqual([]);
      // A message without a session leaves it to whom it is.
      await store.addMessage(added, { content: 'c', session: 's1' });
      await store.addMessage(added, { content: 'd' });
      expect(await store.getConversation(added)).toMatchObject({ userId });
    });

    test('the manager lists the tenants that have conversations', async () => {
      const names = ['b', 'a', 'c'].map((name) => `${name}-${randomUUID()}`);
      for (const name of names) await storage().tenant(name).conversations.ensureConversation(undefined);
      const gone = randomUUID();
      await storage().tenant(names[2]!).conversations.ensureConversation(gone);
      await storage().tenant(names[0]!).conversations.ensureUser('nobody');
      const listed = async (): Promise<string[]> =>
        (await storage().conversations.listTenants()).filter((name) => names.includes(name));
      expect(await listed()).toEqual([...names].sort());
      const left = storage().tenant(names[0]!).conversations;
      for (const { id } of (await left.listConversations()).items) await left.deleteConversation(id);
      expect(await listed()).toEqual([names[1], names[2]]);
      expect(await storage().tenant(names[1]!).conversations.getConversation(randomUUID())).toBeNull();
      expect((await storage().tenant(names[1]!).conversations.listConversations()).items[0]).not.toHaveProperty(
        'tenant',
      );
    });

    test('a history is read up to the limit, and trimmed to it or to what is asked', async () => {
      const store = fresh();
      const id = randomUUID();
      for (let i = 1; i <= 9; i++) await store.addMessage(id, { content: i });
      const dead = (await store.listMessages(id)).items[6]!;
      await store.deleteMessage(id, dead.id);
      const contents = async (limit?: number): Promise<unknown[]> =>
        (await store.loadRecentMessages(id, limit === undefined ? {} : { limit })).map(({ content }) => content);
      expect(await contents()).toEqual([6, 7, 8, 9]);
      expect(await contents(100)).toEqual([6, 7, 8, 9]);
      expect(await contents(2)).toEqual([8, 9]);
      expect(await store.trimHistory(id, { keep: 6, triggeredById: 'ann' })).toBe(2);
      expect(await store.trimHistory(id)).toBe(2);
      expect(await store.trimHistory(id)).toBe(0);
      expect((await store.listMessages(id)).items.map(({ content }) => content)).toEqual([5, 6, 8, 9]);
      expect(await store.getConversation(id)).toMatchObject({ messageCount: 4, lastSeq: 9 });
      const told = (await store.listMessageEvents({ conversationId: id })).filter(
        ({ metadata }) => metadata['reason'] === 'history',
      );
      expect(told).toHaveLength(4);
      const first = (await store.listMessages(id, { includeDeleted: true })).items[0]!;
      expect(await store.restoreMessage(id, first.id)).toMatchObject({ content: 1, status: 'sent' });
      await expect(store.trimHistory(randomUUID())).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });
  });
