/** Deliveries about one thing are made in their order, however it is named. */
import { expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { openStorage } from '../src/index.js';
import { settled } from './support/manual-clock.js';

test('the messages of a conversation keep their order when its id is spelled in several ways', async () => {
  await using storage = await openStorage(
    { databases: { main: 'memory:', side: 'memory:' }, stores: { default: 'main', conversations: 'side' } },
    { environment: {} },
  );
  const id = randomUUID();
  const spellings = [id, id.replaceAll('-', ''), id.toUpperCase(), ` ${id.replace('-', '')}`];
  const contents = Array.from({ length: 40 }, (_, i) => i);
  await storage.transaction(async (tx) => {
    for (const i of contents) await tx.deliver.conversations.addMessage(spellings[i % 4]!, { content: i });
  });
  while ((await storage.outbox.backlog()).waiting > 0) await settled();
  const { items } = await storage.conversations.listMessages(id, { limit: 100 });
  expect(items.map(({ content }) => content)).toEqual(contents);
});
