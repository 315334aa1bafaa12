/** Which messages and conversations are listed, in which order, page by page. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Conversation, ConversationStore, Message, StorageManager } from '../../src/index.js';
import { ManualClock } from '../support/manual-clock.js';
import { run } from '../support/run.js';
import { openManager } from '../support/shared-memory.js';

const CHILD = fileURLToPath(new URL('../children/local-times.js', import.meta.url));

interface Page<E> {
  readonly items: E[];
  readonly next?: string;
}

const clock = new ManualClock();
let storage: StorageManager;
beforeAll(async () => {
  storage = await openManager('memory:', clock);
});
afterAll(() => storage.close());
const fresh = (): ConversationStore => storage.tenant(randomUUID()).conversations;
const contents = ({ items }: Page<Message>): unknown[] => items.map(({ content }) => content);
const titles = ({ items }: Page<Conversation>): unknown[] => items.map(({ title }) => title);
const at = (second: number): Date => new Date(Date.UTC(2025, 0, 1, 0, 0, second));

/** All of the pages of a list, of two each. */
async function paged<E>(list: (paging: { limit: number; after?: string }) => Promise<Page<E>>): Promise<Page<E>> {
  const items: E[] = [];
  for (let page = await list({ limit: 2 }); ; page = await list({ limit: 2, after: page.next })) {
    items.push(...page.items);
    if (page.next === undefined) return { items };
    expect(page.items).toHaveLength(2);
  }
}

test('messages of types and statuses, listed and streamed: of an empty list none', async () => {
  const store = fresh();
  const id = randomUUID();
  const kinds = ['text', 'image', 'text', 'audio', 'image'];
  for (const [i, messageType] of kinds.entries())
    await store.addMessage(id, { content: i, messageType, status: i < 3 ? 'sent' : 'read', metadata: { odd: i % 2 } });
  const last = await store.addMessage(id, { content: 5 });
  await store.deleteMessage(id, last.id);
  const asked: readonly (readonly [Parameters<typeof store.listMessages>[1] & object, readonly number[]])[] = [
    [{}, [0, 1, 2, 3, 4]],
    [{ messageTypes: ['image', 'audio'] }, [1, 3, 4]],
    [{ statuses: ['read'] }, [3, 4]],
    [{ messageTypes: ['image'], statuses: ['sent', 'read'], metadata: { odd: 1 } }, [1]],
    [{ includeDeleted: true, statuses: ['deleted'] }, [5]],
    [{ includeDeleted: true }, [0, 1, 2, 3, 4, 5]],
    [{ messageTypes: [] }, []],
    [{ statuses: [] }, []],
  ];
  for (const [filter, wanted] of asked) {
    expect(contents(await store.listMessages(id, filter))).toEqual(wanted);
    expect(contents(await paged((paging) => store.listMessages(id, { ...filter, ...paging })))).toEqual(wanted);
    expect(contents(await store.queryMessages({ ...filter, order: 'asc' }))).toEqual(wanted);
    for (const direction of ['forward', 'backward'] as const) {
      const streamed: unknown[] = [];
      for await (const { content } of store.streamMessages(id, { ...filter, direction, batchSize: 2 }))
        streamed.push(content);
      expect(streamed).toEqual(direction === 'forward' ? wanted : [...wanted].reverse());
    }
  }
});

test('messages of many conversations by their time, of roles, of a user, from one time until another', async () => {
  const store = fresh();
  const [one, two, other] = [randomUUID(), randomUUID(), randomUUID()];
  // Their places are not in the order of their times.
  for (const [second, thread] of [
    [5, one],
    [1, two],
    [3, one],
    [2, one],
    [4, two],
    [0, other],
  ] as const)
    await store.addMessage(thread, {
      content: second,
      role: second % 2 === 0 ? 'user' : 'tool',
      createdAt: at(second),
      ...(second < 3 ? { user: 'ann' } : {}),
    });
  const { userId } = (await store.getUserProfile('ann'))!;
  const both = { conversationIds: [one, two] };
  const asked: readonly (readonly [Parameters<typeof store.queryMessages>[0] & object, readonly number[]])[] = [
    [{}, [5, 4, 3, 2, 1, 0]],
    [{ order: 'asc' }, [0, 1, 2, 3, 4, 5]],
    [both, [5, 4, 3, 2, 1]],
    [{ ...both, order: 'asc', from: at(2) }, [2, 3, 4, 5]],
    [{ from: at(2), until: at(4) }, [3, 2]],
    [{ ...both, roles: ['user'] }, [4, 2]],
    [{ roles: ['user', 'tool'], userId }, [2, 1, 0]],
    [{ ...both, userId, order: 'asc' }, [1, 2]],
    [{ userId: randomUUID() }, []],
    [{ roles: [] }, []],
    [{ conversationIds: [] }, []],
  ];
  for (const [filter, wanted] of asked) {
    expect(contents(await store.queryMessages(filter))).toEqual(wanted);
    expect(contents(await paged((paging) => store.queryMessages({ ...filter, ...paging })))).toEqual(wanted);
  }
});

test('conversations by when they were made or active, of a session, changed after a time', async () => {
  const store = fresh();
  const { id: sessionId } = await store.ensureSession('s');
  const made: Conversation[] = [];
  for (const title of ['a', 'b', 'c', 'd', 'e']) {
    made.push(await store.ensureConversation(undefined, { title, ...('bd'.includes(title) ? { sessionId } : {}) }));
    clock.jump(1_000);
  }
  for (const i of [3, 0, 2]) {
    await store.addMessage(made[i]!.id, { content: 'x' });
    clock.jump(1_000);
  }
  const changed = (await store.getConversation(made[0]!.id))!.updatedAt;
  expect(await store.archiveConversation(made[1]!.id)).toBe(true);
  const asked: readonly (readonly [Parameters<typeof store.listConversations>[0] & object, string])[] = [
    [{}, 'edcba'],
    [{ order: 'asc' }, 'abcde'],
    [{ by: 'activeAt' }, 'cadeb'],
    [{ by: 'activeAt', order: 'asc' }, 'bedac'],
    [{ sessionId }, 'db'],
    [{ sessionId, includeArchived: false }, 'd'],
    [{ includeArchived: false, order: 'asc' }, 'acde'],
    // Later than that time, not at it.
    [{ updatedAfter: changed }, 'cb'],
    [{ updatedAfter: new Date(changed.getTime() - 1), by: 'activeAt' }, 'cab'],
    [{ sessionId: randomUUID() }, ''],
  ];
  for (const [filter, wanted] of asked) {
    expect(titles(await store.listConversations(filter)).join('')).toBe(wanted);
    const all = await paged((paging) => store.listConversations({ ...filter, ...paging }));
    expect(titles(all).join('')).toBe(wanted);
  }
});

test('a cursor is that of one list', async () => {
  const [store, theirs] = [fresh(), fresh()];
  const [id, other] = [randomUUID(), randomUUID()];
  for (const each of [store, theirs])
    for (const thread of [id, other]) for (const content of [1, 2]) await each.addMessage(thread, { content });
  const messages = (await store.listMessages(id, { limit: 1 })).next!;
  const threads = (await store.listConversations({ limit: 1 })).next!;
  const queried = (await store.queryMessages({ limit: 1 })).next!;
  for (const foreign of [
    () => store.listMessages(other, { after: messages }),
    () => theirs.listMessages(id, { after: messages }),
    () => store.listMessages(id, { after: messages, includeDeleted: true }),
    () => store.listMessages(id, { after: messages, messageTypes: ['text'] }),
    () => store.listMessages(id, { after: messages, statuses: ['sent'] }),
    () => store.listMessages(id, { after: queried }),
    () => store.listConversations({ after: threads, by: 'activeAt' }),
    () => store.listConversations({ after: threads, order: 'asc' }),
    () => store.listConversations({ after: threads, includeArchived: false }),
    () => store.listConversations({ after: threads, updatedAfter: at(0) }),
    () => store.listConversations({ after: queried }),
    () => theirs.listConversations({ after: threads }),
    () => store.queryMessages({ after: queried, order: 'asc' }),
    () => store.queryMessages({ after: queried, conversationIds: [id] }),
    () => store.queryMessages({ after: queried, roles: ['assistant'] }),
    () => theirs.queryMessages({ after: queried }),
  ])
    await expect(foreign()).rejects.toMatchObject({ code: 'INVALID_CURSOR' });
  // Of the same list, with pages of another size.
  expect(contents(await store.listMessages(id, { after: messages, limit: 9, direction: 'backward' }))).toEqual([2]);
  expect((await store.listConversations({ after: threads, limit: 9, order: 'desc' })).items).toHaveLength(1);
  expect((await store.queryMessages({ after: queried, limit: 9 })).items).toHaveLength(3);
});

test('archiving merges its metadata and tells them', async () => {
  const store = fresh();
  const { id } = await store.ensureConversation(undefined, { metadata: { a: 1, b: 1 } });
  const metadata = { b: { c: 2 }, why: 'done' };
  expect(await store.archiveConversation(id, { at: at(0), metadata, triggeredById: 'ann' })).toBe(true);
  expect(await store.getConversation(id)).toMatchObject({ metadata: { a: 1, ...metadata }, archivedAt: at(0) });
  expect((await store.listEvents(id)).at(-1)).toMatchObject({
    type: 'conversation.archived',
    payload: { metadata },
    triggeredById: 'ann',
  });
  // Of one that is archived nothing is changed.
  expect(await store.archiveConversation(id, { metadata: { b: 9 } })).toBe(false);
  expect(await store.getConversation(id)).toMatchObject({ metadata: { a: 1, ...metadata }, archivedAt: at(0) });
});

test('times are of UTC wherever the process is: those without an offset, and those that SQLite keeps', async () => {
  // The second is no time of New York, the last is twice one.
  const times = ['2024-03-10 01:30:00', '2024-03-10 02:30:00', '2024-03-10 03:30:00', '2024-11-03T05:30:00'];
  const child = ['TZ=America/New_York', process.execPath, '--no-warnings', CHILD, 'sqlite::memory:', ...times];
  const { code, output } = await run('env', child, tmpdir(), 120_000);
  expect([code, output]).toEqual([0, expect.stringMatching(/^\{.*\}$/)]);
  const forward = times.map((time) => `${time.replace(' ', 'T')}.000Z`);
  const wanted = { offset: 300, forward, backward: [...forward].reverse(), until: times.length - 1 };
  expect(JSON.parse(output)).toEqual(wanted);
}, 150_000);
