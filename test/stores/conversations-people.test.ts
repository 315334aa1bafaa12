/** Users and sessions deleted, with what named them; the tenants that there are; histories trimmed. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { ConversationStore, StorageManager } from '../../src/index.js';
import { ManualClock } from '../support/manual-clock.js';
import { openManager } from '../support/shared-memory.js';
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

describe('users, sessions and conversations that are ensured', () => {
  const clock = new ManualClock();
  let storage: StorageManager;
  beforeAll(async () => {
    storage = await openManager('memory:', clock);
  });
  afterAll(() => storage.close());
  const fresh = (): ConversationStore => storage.tenant(randomUUID()).conversations;
  const missing = { code: 'NOT_FOUND' };

  test('are the same while nothing new is said; metadata are merged, key by key', async () => {
    const store = fresh();
    const metadata = { a: 1, b: { c: 2 } };
    const user = await store.ensureUser('ann', { displayName: 'Ann', metadata });
    const session = await store.ensureSession('s', { userId: user.id, metadata });
    const conversation = await store.ensureConversation(randomUUID(), { title: 't', sessionId: session.id, metadata });
    const [thread, userId, sessionId] = [conversation.id, user.id, session.id];
    clock.jump(1_000);
    const same = { b: { c: 2 } };
    expect(await store.ensureUser('ann')).toEqual(user);
    expect(await store.ensureUser('ann', { displayName: '  ', metadata: same })).toEqual(user);
    expect(await store.ensureSession('s', { metadata: same })).toEqual(session);
    expect(await store.ensureSession('s', { userId })).toEqual(session);
    expect(await store.ensureConversation(thread)).toEqual(conversation);
    const again = await store.ensureConversation(thread, { title: 't', sessionId, metadata: same });
    expect(again).toEqual(conversation);
    expect(await store.listEvents(thread)).toHaveLength(1);
    const changed = { metadata: { a: 1, b: {}, d: 4 }, version: 2, updatedAt: clock.now() };
    const more = { metadata: { b: {}, d: 4 } };
    expect(await store.ensureUser('ann', more)).toEqual({ ...user, ...changed });
    expect(await store.ensureSession('s', more)).toEqual({ ...session, ...changed });
    expect(await store.ensureConversation(thread, more)).toEqual({ ...conversation, ...changed });
  });

  test('name nobody of another tenant', async () => {
    const [mine, theirs] = [fresh(), fresh()];
    const { id: userId } = await mine.ensureUser('ann');
    const { id: sessionId } = await mine.ensureSession('s');
    const thread = randomUUID();
    await expect(theirs.ensureSession('s', { userId })).rejects.toMatchObject(missing);
    expect(await theirs.findSession('s')).toBeUndefined();
    await expect(theirs.ensureConversation(thread, { sessionId })).rejects.toMatchObject(missing);
    expect(await theirs.getConversation(thread)).toBeNull();
  });

  test('a session goes to another user when told to, and stays named when its time is over', async () => {
    const store = fresh();
    const [ann, bob] = [await store.ensureUser('ann'), await store.ensureUser('bob')];
    const session = await store.ensureSession('s', { userId: ann.id });
    await expect(store.ensureSession('s', { userId: bob.id })).rejects.toMatchObject({
      code: 'CONFLICT',
      details: { id: session.id, reason: 'rebind', userId: ann.id },
    });
    expect(await store.findSession('s')).toEqual(session);
    const expiresAt = new Date(clock.now().getTime() + 1_000);
    const moved = await store.ensureSession('s', { userId: bob.id, expiresAt }, { rebind: true });
    expect(moved).toMatchObject({ id: session.id, userId: bob.id, version: 2, expiresAt });
    const { id } = await store.ensureConversation(undefined, { sessionId: session.id });
    clock.jump(1_000);
    expect(await store.findSession('s')).toBeUndefined();
    expect(await store.getConversation(id)).toMatchObject({ sessionId: session.id, userId: bob.id });
    expect(await store.deleteSession(session.id)).toBe(false);
    expect(await store.getConversation(id)).not.toHaveProperty('sessionId');
  });

  test('a profile is replaced whole, documents are merged when asked for, and the rest stays', async () => {
    const store = fresh();
    await store.ensureUser('ann', { metadata: { lang: 'en', profile: 'none' } });
    clock.jump(1);
    const first = await store.upsertUserProfile('ann', { profile: { a: 1, b: 2 }, documents: { x: 1, y: { z: 1 } } });
    expect(first).toMatchObject({ profile: { a: 1, b: 2 }, documents: { x: 1, y: { z: 1 } } });
    const merged = await store.upsertUserProfile('ann', {
      displayName: 'Ann',
      profile: { c: 3 },
      documents: { y: {} },
      mergeDocuments: true,
    });
    expect(merged).toEqual({ ...first, displayName: 'Ann', version: 3, profile: { c: 3 }, documents: { x: 1, y: {} } });
    const replaced = await store.upsertUserProfile('ann', { documents: { w: 1 } });
    expect(replaced).toEqual({ ...merged, documents: { w: 1 }, version: 4 });
    expect(await store.getUserProfile('ann')).toEqual(replaced);
    expect((await store.getUser(first.userId)).metadata).toEqual({
      lang: 'en',
      profile: { c: 3 },
      documents: { w: 1 },
    });
    // Those that were made first come first, whatever their names and changes.
    const bob = await store.upsertUserProfile('bob', {});
    clock.jump(1);
    const abe = await store.upsertUserProfile('abe', {});
    clock.jump(-10);
    await store.ensureUser('old');
    clock.jump(20);
    const old = await store.upsertUserProfile('old', { profile: { late: true } });
    const page = await store.listUserProfiles({ limit: 2 });
    const rest = await store.listUserProfiles({ limit: 2, after: page.next! });
    expect([...page.items, ...rest.items]).toEqual([old, replaced, bob, abe]);
  });
});
