/** What an import takes in has to be what an export gives: else its line is rejected, and spoils nothing. */
import { expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { openStorage, type ConversationStore, type StorageManager } from '../../src/index.js';
import { conversation, exported, message, type Line } from '../support/exported-conversations.js';

const open = (): Promise<StorageManager> => openStorage({ databases: { main: 'memory:' } }, { environment: {} });
const [id, other] = [randomUUID(), randomUUID()];
const person = (kind: string, value: object): Line => ({ kind, id: other, createdAt: new Date(0), value });
const revision = (members: object): Line => {
  const state = { content: 'x', metadata: {}, extra: {}, messageType: 'text', status: 'sent', editedAt: new Date(0) };
  return person('revision', { ...state, conversationId: id, messageId: randomUUID(), revision: 1, ...members });
};

const WRONG: readonly (readonly [string, Line])[] = [
  ['value.title', conversation(other, 0, { title: 5 })],
  ['value.lastSeq', conversation(other, 0, { lastSeq: Number.MAX_SAFE_INTEGER })],
  ['value.archivedAt', conversation(other, 0, { archivedAt: 'soon' })],
  ['value.sessionId', conversation(other, 0, { sessionId: 'web-1' })],
  ['value.tenantId', conversation(other, 0, { tenantId: 'other' })],
  ['value.seq', message(id, 1, { seq: Number.MAX_SAFE_INTEGER })],
  ['value.assets', message(id, 1, { assets: 'abc' })],
  ['value.assets[0].id', message(id, 1, { assets: [{ assetType: 'audio', metadata: {} }] })],
  ['value.deletedAt', message(id, 1, { deletedAt: true })],
  ['value.userId', message(id, 1, { userId: 'ann' })],
  ['value.version', message(id, 1, { version: 7 })],
  ['value.revisions', message(id, 1, { revisions: 2 ** 53 - 1 })],
  ['value.externalId', person('user', { metadata: {}, externalId: ['ann'] })],
  ['value.displayName', person('user', { metadata: {}, displayName: 7 })],
  ['value.userId', person('session', { metadata: {}, userId: 'ann' })],
  ['value.editedById', revision({ editedById: {} })],
  ['value.id', revision({ id: other })],
];

test('a value that is none of an export is rejected with its line, and nothing else is', async () => {
  await using storage = await open();
  const store: ConversationStore = storage.tenant('acme').conversations;
  const lines = exported([conversation(id, 1), ...WRONG.map(([, line]) => line), message(id, 2, { content: 'good' })]);
  for (const dryRun of [true, false]) {
    const report = await store.importConversations(lines, { dryRun });
    expect(report).toMatchObject({ written: { conversation: 1, message: 1 }, rejected: WRONG.length });
    expect(report.rejections.map(({ line, error }) => [line, error.split(':')[0]])).toEqual(
      WRONG.map(([key], i) => [i + 3, key]),
    );
  }
  expect(await store.addMessage(id, { content: 'next' })).toMatchObject({ seq: 3 });
  expect(await store.statistics()).toMatchObject({ conversations: 1, messages: 2, users: 0, sessions: 0 });
});

test('the names of inherited members are no kinds, and the import goes on', async () => {
  await using storage = await open();
  const kinds = ['constructor', 'toString', '__proto__', 'hasOwnProperty'];
  const lines = exported([
    ...kinds.map((kind) => person(kind, { externalId: 'x', metadata: {} })),
    conversation(id, 1),
    message(id, 1),
  ]);
  for (const remapIds of [true, false])
    expect(await storage.tenant('acme').conversations.importConversations(lines, { remapIds })).toMatchObject({
      written: { conversation: 1, message: 1 },
      rejected: kinds.length,
    });
});

test('every member that there is is taken, and what earlier versions wrote beside them is dropped', async () => {
  await using storage = await open();
  const store = storage.tenant('acme').conversations;
  const [user, session, asset] = [randomUUID(), randomUUID(), randomUUID()];
  const time = new Date('2025-03-01');
  const own = { title: 'T', sessionId: session, userId: user, metadata: { a: [1] }, archivedAt: time };
  const assets = [{ id: asset, assetType: 'audio', uri: 'x:y', metadata: { format: 'wav' } }];
  const deleted = { deletedAt: time, deletedStatus: 'sent', status: 'deleted' };
  const said = { userId: user, clientMessageId: 'c', assets, content: { text: 'hi' }, metadata: { b: 1 } };
  const lines = exported([
    { kind: 'user', id: user, createdAt: time, value: { externalId: 'ann', displayName: 'Ann', metadata: { p: {} } } },
    {
      kind: 'session',
      id: session,
      createdAt: time,
      expiresAt: '2090-01-01T00:00:00.000Z',
      value: { externalId: 's', userId: user, metadata: {} },
    },
    conversation(id, 2, { ...own, lastMessageAt: time, tenant: 'other', embedded: true, formerVersion: 4 }),
    message(id, 1, said),
    message(id, 2, deleted),
    revision({ editedById: 'bob' }),
  ]);
  expect(await store.importConversations(lines)).toMatchObject({ rejected: 0 });
  expect(await store.getConversation(id)).toMatchObject({ ...own, lastMessageAt: time, messageCount: 1, lastSeq: 2 });
  expect((await store.listMessages(id)).items).toMatchObject([said]);
  expect((await store.listMessages(id, { includeDeleted: true })).items[1]).toMatchObject({ deletedAt: time });
  expect(await store.getUser(user)).toMatchObject({ externalId: 'ann', displayName: 'Ann' });
  expect(await store.getSession(session)).toMatchObject({ userId: user, expiresAt: new Date('2090-01-01') });
  expect(await storage.conversations.listTenants()).toEqual(['acme']);
});
