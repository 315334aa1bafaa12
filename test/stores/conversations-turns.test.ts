/** Writers of one conversation, one after another: in which order, until when, and what is kept of it between them. */
import { describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { recentConversations } from '../../src/adapters/conversations/recent.js';
import type { ConversationStore, Message } from '../../src/index.js';
import { beforeCall } from '../support/held-call.js';
import { ManualClock } from '../support/manual-clock.js';
import { gate } from '../support/postgres/fixture.js';
import { openManager } from '../support/shared-memory.js';

/** A conversation of one message, and the first writer after it, whose batch waits until `go` is called. */
async function firstWriter(
  store: ConversationStore,
): Promise<{ readonly id: string; readonly first: Promise<Message>; readonly go: () => void }> {
  const id = randomUUID();
  await store.addMessage(id, { content: 'there' });
  const { passed, open } = gate();
  beforeCall(store['host'].backend, 'write', () => passed);
  return { id, first: store.addMessage(id, { content: 'first' }), go: open };
}

describe('writers of one conversation', () => {
  const operations: Readonly<Record<string, (store: ConversationStore, id: string) => Promise<unknown>>> = {
    addMessage: (store, id) => store.addMessage(id, { content: 'late' }, { timeout: 1_000 }),
    renameConversation: (store, id) => store.renameConversation(id, 'late', { timeout: 1_000 }),
    deleteConversation: (store, id) => store.deleteConversation(id, { timeout: 1_000 }),
  };
  test.each(Object.entries(operations))('%s has one deadline for its turn and its write', async (_name, write) => {
    const clock = new ManualClock();
    await using storage = await openManager('memory:', clock);
    const store = storage.conversations;
    const { id, first, go } = await firstWriter(store);
    await clock.advance(0);
    const begun = clock.monotonic();
    const second = write(store, id);
    await clock.advance(600);
    const deadlines: number[] = [];
    beforeCall(
      store['host'].backend,
      'write',
      () => Promise.resolve(),
      (_scope, _writes, { deadline }) => deadlines.push(deadline) > 0,
    );
    go();
    await Promise.all([first, second]);
    expect(deadlines).toEqual([begun + 1_000]);
  });

  test('one that gives up lets none behind it pass one before it', async () => {
    const clock = new ManualClock();
    await using storage = await openManager('memory:', clock);
    const store = storage.conversations;
    const { id, first, go } = await firstWriter(store);
    const impatient = store.addMessage(id, { content: 'none' }, { timeout: 50 });
    const refused = expect(impatient).rejects.toMatchObject({ code: 'TIMEOUT' });
    await clock.advance(50);
    await refused;
    const second = store.addMessage(id, { content: 'second' });
    await clock.advance(0);
    go();
    expect([(await first).seq, (await second).seq]).toEqual([2, 3]);
  });

  test('what is kept of a conversation is small, and nothing once it is deleted', async () => {
    await using storage = await openManager('memory:', new ManualClock());
    const store = storage.conversations;
    const [id, { backend, tenant }] = [randomUUID(), store['host']];
    const kept = (): unknown => {
      const known = recentConversations(backend);
      const record = known.take(`${tenant}\n${id}`);
      if (record !== undefined) known.keep(`${tenant}\n${id}`, record);
      return record;
    };
    const large = { title: 'title', metadata: { text: 'x'.repeat(500_000) } };
    await store.ensureConversation(id, large);
    expect(kept()).toMatchObject({ id, version: 1 });
    expect(JSON.stringify(kept()).length).toBeLessThan(500);
    await store.addMessage(id, { content: 'a' });
    expect(JSON.stringify(kept()).length).toBeLessThan(500);
    await store.addMessage(id, { content: 'b' });
    expect(await store.getConversation(id)).toMatchObject({ ...large, messageCount: 2 });
    await store.deleteConversation(id);
    expect(kept()).toBeUndefined();
  });
});
