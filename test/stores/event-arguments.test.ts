/** Events of an aggregate: by its id in any spelling, and nothing by what is none. */
import { describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { isStorageError, type StorageManager } from '../../src/index.js';
import { storageTargets } from '../support/storage-targets.js';
import { useStorage } from '../support/use-storage.js';

const ID = '018f9f3e-7a10-7000-8000-000000000001';
const any = (value: unknown): never => value as never;

/** What the message names, and the call. */
const REFUSED: readonly (readonly [string, (storage: StorageManager) => unknown])[] = [
  ...(['tasks', 'conversations', 'jobs'] as const).flatMap(
    (store): [string, (storage: StorageManager) => unknown][] => [
      ['aggregateId', (s) => s[store].listEvents('nonsense')],
      ['aggregateId', (s) => s[store].listEvents(any(undefined))],
      ['aggregateId', (s) => s[store].watchEvents('nonsense').next()],
      ['options', (s) => s[store].listEvents(ID, any(null))],
      ['options.afer', (s) => s[store].listEvents(ID, any({ afer: 3 }))],
      ['options.after', (s) => s[store].listEvents(ID, { after: -1 })],
      ['options.limit', (s) => s[store].listEvents(ID, { limit: 1_001 })],
      ['options', (s) => s[store].watchEvents(ID, any(null)).next()],
      ['options.signal', (s) => s[store].watchEvents(ID, { signal: any(5) }).next()],
      ['options.interval', (s) => s[store].watchEvents(ID, { interval: NaN }).next()],
      ['options.interval', (s) => s[store].watchEvents(ID, { interval: 0 }).next()],
      ['options.after', (s) => s[store].watchEvents(ID, { after: 1.5 }).next()],
      ['options.afer', (s) => s[store].watchEvents(ID, any({ afer: 3 })).next()],
    ],
  ),
  ['aggregateId', (s) => s.agents.listEvents('')],
  ['options.signal', (s) => s.conversations.tail(ID, { signal: any(5) }).next()],
  ['options', (s) => s.conversations.listUserProfiles(any(null))],
  ['options.bogus', (s) => s.conversations.listUserProfiles(any({ bogus: 1 }))],
  ['source', (s) => s.conversations.importConversations(any(Buffer.from('{}\n')))],
  ['source', (s) => s.conversations.importConversations([any(5)])],
  ['source', (s) => s.conversations.importConversations([new Uint8Array([0xff, 0xfe])])],
  ['source', (s) => s.conversations.importConversations([new Uint8Array([0xc3])])],
];

for (const target of storageTargets('arguments of events').filter(({ transactions }) => transactions))
  describe(`arguments of events on ${target.name}`, () => {
    const storage = useStorage(target);

    test('bad input is refused with its name', async () => {
      for (const [i, [key, call]] of REFUSED.entries()) {
        const error: unknown = await Promise.resolve()
          .then(() => call(storage()))
          .then(
            () => undefined,
            (thrown: unknown) => thrown,
          );
        expect([i, key, isStorageError(error, 'VALIDATION'), String(error)]).toEqual([
          ...[i, key, true],
          expect.stringContaining(`${key}:`),
        ]);
      }
    });

    test('an id is the same in every spelling', async () => {
      const { tasks, conversations, agents } = storage().tenant(randomUUID());
      const task = await tasks.create({ title: 'x' });
      for (const spelled of [(key: string) => key.toUpperCase(), (key: string) => key.replaceAll('-', '')]) {
        expect(await tasks.listEvents(spelled(task.id))).toMatchObject([{ type: 'task.created' }]);
        const id = randomUUID();
        await conversations.ensureConversation(id);
        expect(await conversations.listEvents(spelled(id))).toMatchObject([{ type: 'conversation.created' }]);
        const events = conversations.watchEvents(spelled(id), { interval: 3_600_000 });
        expect((await events.next()).value).toMatchObject({ type: 'conversation.created' });
        const next = events.next();
        // Of this process: told at once, whatever the interval.
        await conversations.renameConversation(id, spelled('name'));
        expect((await next).value).toMatchObject({ type: 'conversation.updated' });
        await events.return();
      }
      // A host's own id: as it was given.
      await agents.saveState('Agent', 'k', {});
      expect(await agents.listEvents('Agent')).toHaveLength(1);
      expect(await agents.listEvents('agent')).toEqual([]);
    });
  });
