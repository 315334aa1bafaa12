/** What callers of the conversation store may not give, and whose records they are. */
import { describe, expect, jest, test } from '@jest/globals';
import { openStorage, type ConversationStore } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';

const ID = '018f9f3e-7a10-7000-8000-000000000001';
const OTHER = '018f9f3e-7a10-7000-8000-000000000002';
const LONG = 'x'.repeat(1_021);
type Call = (store: ConversationStore) => unknown;
const any = (value: unknown): never => value as never;

/** Key in the message, and the call. */
const REFUSED: readonly (readonly [string, Call])[] = [
  ...['', 4, 'no-uuid', null].flatMap((id): [string, Call][] => [
    ['conversationId', (s) => s.addMessage(any(id), { content: 'x' })],
    ['conversationId', (s) => s.listMessages(any(id))],
    ['conversationId', (s) => s.loadRecentMessages(any(id))],
    ['conversationId', (s) => s.getMessage(any(id), ID)],
    ['id', (s) => s.getMessage(ID, any(id))],
    ['id', (s) => s.editMessage(ID, any(id), { content: 'x' })],
    ['id', (s) => s.deleteMessage(ID, any(id))],
    ['id', (s) => s.restoreMessage(ID, any(id))],
    ['id', (s) => s.purgeMessage(ID, any(id))],
    ['id', (s) => s.listRevisions(ID, any(id))],
    ['id', (s) => s.getConversation(any(id))],
    ['id', (s) => s.renameConversation(any(id), 'x')],
    ['id', (s) => s.archiveConversation(any(id))],
    ['id', (s) => s.unarchiveConversation(any(id))],
    ['id', (s) => s.resetConversation(any(id))],
    ['id', (s) => s.deleteConversation(any(id))],
    ['id', (s) => s.getUser(any(id))],
    ['id', (s) => s.getSession(any(id))],
    ['messageId', (s) => s.upsertMessageVectors(any(id), [])],
  ]),
  ...(
    [
      ['role', [4, 'x'.repeat(129)]],
      ['content', [undefined, null, NaN, () => 1]],
      ['messageType', [4]],
      ['status', [{}]],
      ['metadata', [[], 'x', 4]],
      ['extra', [[], 'x']],
      ['clientMessageId', [4, LONG]],
      ['createdAt', ['yesterday', 4]],
      ['userId', ['x', 4]],
      ['user', [4, LONG]],
      ['userDisplayName', [4, 'no user']],
      ['userMetadata', [[], {}]],
      ['sessionId', ['x']],
      ['session', [4, LONG]],
      ['sessionMetadata', [[], {}]],
      ['assets', ['x', [{ uri: 4 }], [{ other: 1 }]]],
      ['events', ['x', [{ metadata: 4 }]]],
      ['other', [1]],
    ] as const
  ).flatMap(([key, values]) =>
    (values as readonly unknown[]).map((value): [string, Call] => [
      `message.${key}`,
      (s) => s.addMessage(ID, any({ content: 'x', [key]: value })),
    ]),
  ),
  ['message', (s) => s.addMessage(ID, any('x'))],
  ['message.user', (s) => s.addMessage(ID, { content: 'x', userId: ID, user: 'ann' })],
  ['options.rebind', (s) => s.addMessage(ID, { content: 'x' }, { rebind: any('yes') })],
  ...['x'.repeat(256), 'Ж'.repeat(256), '𝄞'.repeat(256), ' '].map((idempotencyKey): [string, Call] => [
    'options.idempotencyKey',
    (s) => s.addMessage(ID, { content: 'x' }, { idempotencyKey }),
  ]),
  ['options.other', (s) => s.addMessage(ID, { content: 'x' }, any({ other: 1 }))],
  ['changes', (s) => s.editMessage(ID, ID, {})],
  ['changes.content', (s) => s.editMessage(ID, ID, { content: null })],
  ['changes.role', (s) => s.editMessage(ID, ID, any({ role: 'x' }))],
  ['options.ifVersion', (s) => s.editMessage(ID, ID, { content: 'x' }, { ifVersion: 0 })],
  ['options.status', (s) => s.deleteMessage(ID, ID, { status: any(4) })],
  ['revision', (s) => s.restoreRevision(ID, ID, 0)],
  ['options.limit', (s) => s.listMessages(ID, { limit: 101 })],
  ['options.direction', (s) => s.listMessages(ID, { direction: any('up') })],
  ['options.messageTypes', (s) => s.listMessages(ID, { messageTypes: any('text') })],
  ['metadata.tags', (s) => s.listMessages(ID, { metadata: { tags: [{ a: 1 }] } })],
  ['options.other', (s) => s.listMessages(ID, any({ other: 1 }))],
  ['options.before', (s) => s.loadRecentMessages(ID, { before: 0 })],
  ['options.limit', (s) => s.queryMessages({ limit: 0 })],
  ['options.conversationIds[0]', (s) => s.queryMessages({ conversationIds: ['x'] })],
  ['options.from', (s) => s.queryMessages({ from: 'x' })],
  ['options.by', (s) => s.listConversations({ by: any('title') })],
  ['options.order', (s) => s.listConversations({ order: any('up') })],
  ['options.updatedAfter', (s) => s.listConversations({ updatedAfter: 'x' })],
  ['options.conversationId', (s) => s.listMessageEvents({})],
  ['conversation.title', (s) => s.ensureConversation(ID, { title: LONG })],
  ['conversation.sessionId', (s) => s.ensureConversation(ID, { sessionId: 'x' })],
  ['conversation.other', (s) => s.ensureConversation(ID, any({ other: 1 }))],
  ['options.ifVersion', (s) => s.ensureConversation(ID, {}, { ifVersion: 0 })],
  ['options.ifVersion', (s) => s.ensureConversation(undefined, {}, { ifVersion: 1 })],
  ['title', (s) => s.renameConversation(ID, any(4))],
  ['options.at', (s) => s.archiveConversation(ID, { at: 'x' })],
  ['externalId', (s) => s.ensureUser('')],
  ['user.metadata', (s) => s.ensureUser('ann', { metadata: any([]) })],
  ['username', (s) => s.getUserProfile('  ')],
  ['profile.documents', (s) => s.upsertUserProfile('ann', { documents: any(4) })],
  ['options.ifVersion', (s) => s.upsertUserProfile('ann', {}, { ifVersion: any(null) })],
  ['externalId', (s) => s.ensureSession(any(4))],
  ['session.userId', (s) => s.ensureSession('s', { userId: 'x' })],
  ['session.expiresAt', (s) => s.ensureSession('s', { expiresAt: 'soon' })],
  ['vectors[0].embedding', (s) => s.upsertMessageVectors(ID, [{}])],
  ['vectors[0].embedding', (s) => s.upsertMessageVectors(ID, [{ embedding: [NaN] }])],
  ['vectors[1].embedding', (s) => s.upsertMessageVectors(ID, [{ embedding: [1] }, { embedding: [1, 2] }])],
  ['vectors[1].embedding', (s) => s.upsertMessageVectors(ID, [{ embedding: [1, 0] }, { embedding: [0, 0], id: 'b' }])],
  ['vectors[0].metadata.provider', (s) => s.upsertMessageVectors(ID, [{ embedding: [1], metadata: { provider: 5 } }])],
  ['vectors[0].metadata.a', (s) => s.upsertMessageVectors(ID, [{ embedding: [1], metadata: { a: [1, 'x'] } }])],
  ['vectors[1].vectorKey', (s) => s.upsertMessageVectors(ID, [{ embedding: [1] }, { embedding: [2] }])],
  [
    'vectors[1].vectorKey',
    (s) =>
      s.upsertMessageVectors(ID, [
        { embedding: [1], id: 'a' },
        { embedding: [2], id: 'a' },
      ]),
  ],
  ['selection', (s) => s.listMessageVectors({})],
  ['search.limit', (s) => s.search({ limit: 0 })],
  ['search.vector', (s) => s.search({ vector: [] })],
  ['search.embed', (s) => s.search({ embed: async () => [1] })],
  ['search.other', (s) => s.search(any({ other: 1 }))],
  ['policy.softDeleteAfterDays', (s) => s.retain({ softDeleteAfterDays: any('x') })],
  ['source', (s) => s.importConversations(any(4))],
  ['options.mode', (s) => s.importConversations([], { mode: any('merge') })],
];

for (const target of storageTargets('conversations: arguments'))
  describe(`arguments and tenants of conversations on ${target.name}`, () => {
    const storage = useStorage(target);

    test('bad input is refused with its name, and nothing is written', async () => {
      const store = storage().tenant('careful').conversations;
      for (const [key, call] of REFUSED) {
        const error = await Promise.resolve()
          .then(() => call(store))
          .then(
            () => undefined,
            (reason: Error & { code?: string }) => reason,
          );
        expect([key, error?.code]).toEqual([key, 'VALIDATION']);
        // The argument itself, or a part of it.
        expect([error!.message.slice(0, key.length), ':.['.includes(error!.message[key.length]!)]).toEqual([key, true]);
      }
      const { conversations, messages, users, sessions } = await store.statistics();
      expect([conversations, messages, users, sessions]).toEqual([0, 0, 0, 0]);
    });

    if (!target.transactions) return;

    test("another tenant's records are as if they were not there", async () => {
      const [mine, theirs] = [storage().tenant('mine').conversations, storage().tenant('theirs').conversations];
      const message = await mine.addMessage(ID, {
        content: 'secret words',
        user: 'ann',
        session: 's',
        clientMessageId: 'c',
      });
      const session = await mine.ensureSession('s');
      const before = await mine.getConversation(ID);
      expect(await theirs.getConversation(ID)).toBeNull();
      expect(await theirs.getMessage(ID, message.id)).toBeNull();
      expect((await theirs.listMessages(ID)).items).toEqual([]);
      expect((await theirs.queryMessages()).items).toEqual([]);
      expect(await theirs.loadRecentMessages(ID)).toEqual([]);
      expect(await theirs.listMessageEvents({ messageId: message.id })).toEqual([]);
      expect(await theirs.search({ text: 'secret' })).toEqual({ count: 0, items: [] });
      expect(await theirs.getUserProfile('ann')).toBeNull();
      const missing = { code: 'NOT_FOUND' };
      await expect(theirs.editMessage(ID, message.id, { content: 'x' })).rejects.toMatchObject(missing);
      await expect(theirs.deleteMessage(ID, message.id)).rejects.toMatchObject(missing);
      await expect(theirs.getUser(message.userId!)).rejects.toMatchObject(missing);
      await expect(theirs.getSession(session.id)).rejects.toMatchObject(missing);
      await expect(theirs.addMessage(ID, { content: 'x', sessionId: session.id })).rejects.toMatchObject(missing);
      await expect(theirs.addMessage(OTHER, { content: 'x', userId: message.userId })).rejects.toMatchObject(missing);
      await expect(theirs.upsertMessageVectors(message.id, [{ embedding: [1] }])).rejects.toMatchObject(missing);
      expect(await theirs.purgeMessage(ID, message.id)).toBe(false);
      expect(await theirs.archiveConversation(ID)).toBe(false);
      expect(await theirs.resetConversation(ID)).toBe(false);
      expect(await theirs.deleteConversation(ID)).toBe(false);
      expect(await theirs.retain({ maxConversations: 1, messageRetentionDays: 0.000001 })).toMatchObject({
        messages: { hardDeleted: 0 },
      });
      // The same ids, names and keys: each tenant has its own.
      const own = await theirs.addMessage(ID, { content: 'other', user: 'ann', session: 's', clientMessageId: 'c' });
      expect(own).toMatchObject({ seq: 1, tenantId: 'theirs', content: 'other' });
      expect(own.userId).not.toBe(message.userId);
      await theirs.deleteConversation(ID);
      expect(await mine.getConversation(ID)).toEqual(before);
      expect((await mine.listMessages(ID)).items).toEqual([message]);
    });

    test('words are read in any case, and blank ones are the default', async () => {
      const store = storage().tenant('words').conversations;
      for (const [id, createdAt] of [[ID, '2090-01-01'] as const, [OTHER, '2080-01-01'] as const])
        await store.addMessage(id, { content: 'x', createdAt });
      const ids = async (by: string, order: string): Promise<string[]> =>
        (await store.listConversations({ by: any(by), order: any(order) })).items.map(({ id }) => id);
      expect(await ids(' ACTIVEAT', 'Desc')).toEqual([ID, OTHER]);
      expect(await ids('', ' ')).toEqual([OTHER, ID]);
    });

    test('a session goes to another user only when told to, and ends', async () => {
      const store = storage().tenant('sessions').conversations;
      await store.addMessage(ID, { content: 'x', user: 'ann', session: 's' });
      await expect(store.addMessage(ID, { content: 'x', user: 'bob', session: 's' })).rejects.toMatchObject({
        code: 'CONFLICT',
        details: { reason: 'rebind' },
      });
      const moved = await store.addMessage(ID, { content: 'x', user: 'bob', session: 's' }, { rebind: true });
      const session = await store.ensureSession('s');
      expect(session.userId).toBe(moved.userId);
      expect(await store.getConversation(ID)).toMatchObject({ userId: moved.userId, messageCount: 2 });
      await store.ensureSession('s', { expiresAt: new Date(Date.now() - 1) });
      await expect(store.getSession(session.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      expect((await store.ensureSession('s')).id).not.toBe(session.id);
    });
  });

test('what is no cursor of a list is refused before anything is read or made', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  const { agents, conversations, jobs, kv, tasks } = storage;
  const { backend } = conversations['host'];
  const calls = (['ensure', 'find', 'read'] as const).map((method) => jest.spyOn(backend, method));
  const lists: Readonly<Record<string, (after: string) => Promise<unknown>>> = {
    listMessages: (after) => conversations.listMessages(ID, { after }),
    listConversations: (after) => conversations.listConversations({ after }),
    queryMessages: (after) => conversations.queryMessages({ after }),
    listUserProfiles: (after) => conversations.listUserProfiles({ after }),
    'agents.list': (after) => agents.list({ after }),
    'jobs.list': (after) => jobs.list({ after }),
    'kv.list': (after) => kv.list('n', { after }),
    'tasks.list': (after) => tasks.list({ after }),
  };
  const codeOf = async (call: Promise<unknown>): Promise<unknown> =>
    call.then(
      () => 'none',
      ({ code }: { code: unknown }) => code,
    );
  for (const [name, list] of Object.entries(lists)) {
    for (const after of ['', ' ', 'nonsense', 'a\u0000b', 'x'.repeat(9_000)])
      expect([name, after, await codeOf(list(after))]).toEqual([name, after, 'INVALID_CURSOR']);
    for (const after of [4, null, {}])
      expect([name, after, await codeOf(list(any(after)))]).toEqual([name, after, 'VALIDATION']);
  }
  for (const call of calls) expect(call).not.toHaveBeenCalled();
});
