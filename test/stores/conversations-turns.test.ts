/** Writers of one conversation, one after another, in which order. */
import { describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { ConversationStore } from '../../src/index.js';
import { beforeCall } from '../support/held-call.js';
import { ManualClock } from '../support/manual-clock.js';
import { openManager } from '../support/shared-memory.js';

/** The next batch that is written waits until the returned function is called. */
function holdWrite(store: ConversationStore): () => void {
  let go!: () => void;
  const held = new Promise<void>((resolve) => (go = resolve));
  beforeCall(store['host'].backend, 'write', () => held);
  return go;
}

describe('writers of one conversation', () => {
  test('one that gives up lets none behind it pass one before it', async () => {
    const clock = new ManualClock();
    await using storage = await openManager('memory:', clock);
    const store = storage.conversations;
    const id = randomUUID();
    await store.addMessage(id, { content: 'there' });
    const go = holdWrite(store);
    const first = store.addMessage(id, { content: 'first' });
    const impatient = store.addMessage(id, { content: 'none' }, { timeout: 50 });
    const refused = expect(impatient).rejects.toMatchObject({ code: 'TIMEOUT' });
    await clock.advance(50);
    await refused;
    const second = store.addMessage(id, { content: 'second' });
    await clock.advance(0);
    go();
    expect([(await first).seq, (await second).seq]).toEqual([2, 3]);
  });
});
