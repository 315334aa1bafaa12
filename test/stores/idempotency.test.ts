/** What an idempotency key may be, and what becomes of it when its first result is deleted. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openStorage, type StorageManager } from '../../src/index.js';
import { ManualClock } from '../support/manual-clock.js';
import { openManager } from '../support/shared-memory.js';

let storage: StorageManager;
beforeAll(async () => {
  storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
});
afterAll(() => storage.close());

const THREAD = randomUUID();
type Made = { readonly id: string };
const KEY = { idempotencyKey: 'k' };
const tasks = () => storage.tasks;
const jobs = () => storage.jobs;
const chats = () => storage.conversations;

/** What is made under the key, and how that is deleted. */
const uses: Readonly<Record<string, () => Promise<readonly [() => Promise<Made>, (made: Made) => Promise<unknown>]>>> =
  {
    'tasks.create': () => Promise.resolve([() => tasks().create({ title: 'a' }, KEY), ({ id }) => tasks().delete(id)]),
    'tasks.comment': async () => {
      const { id } = await tasks().create({ title: 'a' });
      return [() => tasks().comment(id, { text: 'a' }, KEY), () => tasks().delete(id)];
    },
    'jobs.create': () => Promise.resolve([() => jobs().create({ name: 'a' }, KEY), ({ id }) => jobs().delete(id)]),
    'jobs.createRun': async () => {
      const { id } = await jobs().create({ name: 'noted' });
      return [() => jobs().createRun(id, {}, KEY), () => jobs().delete(id)];
    },
    'jobs.enqueueRun': async () => {
      const { id } = await jobs().create({ name: 'queued' });
      return [() => jobs().enqueueRun(id, KEY), () => jobs().delete(id)];
    },
    'conversations.ensureConversation': () =>
      Promise.resolve([
        () => chats().ensureConversation(undefined, { title: 'a' }, KEY),
        ({ id }) => chats().deleteConversation(id),
      ]),
    'conversations.addMessage': async () => {
      const id = randomUUID();
      return [() => chats().addMessage(id, { content: 'a' }, KEY), () => chats().deleteConversation(id)];
    },
  };

test.each(Object.keys(uses))('%s says that what was made under the key is gone', async (operation) => {
  const [make, remove] = await uses[operation]!();
  const made = await make();
  expect((await make()).id).toBe(made.id);
  await remove(made);
  await expect(make()).rejects.toMatchObject({
    code: 'NOT_FOUND',
    operation,
    message: expect.stringContaining('idempotency key'),
    details: { id: made.id, reason: 'idempotency' },
  });
});

test.each(['x', 'Ж', '𝄞'])('255 characters like %s are a key', async (character) => {
  const key = { idempotencyKey: character.repeat(255) };
  const { id } = await tasks().create({ title: 'a' }, key);
  expect(await tasks().create({ title: 'a' }, key)).toMatchObject({ id });
  await expect(tasks().create({ title: 'b' }, key)).rejects.toMatchObject({ code: 'CONFLICT' });
});

test('a key is kept for a day, and then stands for nothing', async () => {
  const clock = new ManualClock();
  await using timed = await openManager('memory:', clock);
  const { conversations } = timed;
  const add = (content: string): Promise<Made> => conversations.addMessage(THREAD, { content }, KEY);
  const ensure = (title: string): Promise<Made> => conversations.ensureConversation(undefined, { title }, KEY);
  const [message, conversation] = [await add('a'), await ensure('a')];
  clock.jump(24 * 3_600_000 - 1);
  expect(await add('a')).toEqual(message);
  expect(await ensure('a')).toEqual(conversation);
  await expect(add('b')).rejects.toMatchObject({ code: 'CONFLICT', details: { reason: 'idempotency' } });
  clock.jump(1);
  expect(await add('b')).toMatchObject({ seq: 2 });
  expect((await ensure('b')).id).not.toBe(conversation.id);
  expect((await conversations.listMessages(THREAD)).items).toHaveLength(2);
});
