/** A manager that is closed in the midst of deliveries: its relays give back what they had claimed. */
import { describe, expect, test } from '@jest/globals';
import { openStorage, type StorageManager } from '../src/index.js';
import { ALL } from '../src/filter/syntax.js';
import { LANES } from '../src/unit-of-work/outbox/records.js';
import { settled } from './support/manual-clock.js';
import { databaseOf } from './support/open-parts.js';
import { enqueue, kept } from './support/outbox.js';
import { storageTargets } from './support/storage-targets.js';
import { Tally } from './support/tally.js';

const LEASE = 3_600_000;

/** Of the lanes that there are: their attempts, and whether they may be claimed well before the lease ends. */
async function lanes(storage: StorageManager): Promise<unknown[]> {
  const { backend, clock } = databaseOf(storage);
  const context = { now: clock.now(), deadline: clock.monotonic() + 60_000 };
  const sort = [{ source: 'envelope', path: ['id'], type: 'string', direction: 'asc' }] as const;
  const found = await backend.find('all', { collection: LANES, filter: ALL, sort, limit: 10 }, context);
  return found.map(({ value }) => [
    value['attempts'],
    Date.parse(value['dueAt'] as string) < clock.now().getTime() + LEASE / 2,
  ]);
}

const targets = storageTargets('relays of managers that close').filter(
  ({ transactions, server }) => transactions && server,
);

for (const target of targets)
  describe(`relays of managers that close on ${target.name}`, () => {
    test('give their keys back at once, and what they aborted counts as no attempt', async () => {
      const { url, drop } = await target.prepare();
      const open = (): Promise<StorageManager> => openStorage({ databases: { main: url } }, { environment: {} });
      const last = await open();
      for (const key of ['ann', 'bob']) {
        await enqueue(last, key, 1);
        await enqueue(last, key, 2);
      }
      for (let closes = 0; closes < 3; closes++) {
        const closing = await open();
        const begun = new Tally<number>();
        closing.outbox.relay({
          handlers: {
            mail: (_message, { attempt }) => {
              begun.add(attempt);
              return new Promise(() => undefined);
            },
          },
          lease: LEASE,
        });
        await begun.until(2);
        await closing.close({ deadline: 1_000 });
        expect(begun.seen).toEqual([1, 1]);
        expect(await lanes(last)).toEqual([
          [0, true],
          [0, true],
        ]);
      }
      const tally = new Tally<unknown>();
      await using relay = last.outbox.relay({
        handlers: { mail: ({ key, payload }, { attempt }) => tally.add([key, payload, attempt]) },
      });
      await tally.until(4);
      while ((await kept(last))[1]! > 0) await settled();
      await relay.stop();
      expect(tally.seen.sort()).toEqual([
        ['ann', 1, 1],
        ['ann', 2, 1],
        ['bob', 1, 1],
        ['bob', 2, 1],
      ]);
      expect(await kept(last)).toEqual([0, 0, 0]);
      await last.close();
      await drop();
    });

    test('note what was delivered', async () => {
      const { url, drop } = await target.prepare();
      const open = (): Promise<StorageManager> => openStorage({ databases: { main: url } }, { environment: {} });
      const [closing, last] = [await open(), await open()];
      await last.transaction((tx) =>
        tx.outbox.enqueueMany([1, 2].map((payload) => ({ topic: 'mail', key: 'ann', payload }))),
      );
      const tally = new Tally<unknown>();
      closing.outbox.relay({
        handlers: {
          mail: ({ payload }) => {
            tally.add(payload);
            return payload === 1 ? undefined : new Promise(() => undefined);
          },
        },
        lease: LEASE,
      });
      await tally.until(2);
      await closing.close({ deadline: 1_000 });
      expect((await last.outbox.list()).items.map(({ payload }) => payload)).toEqual([2]);
      expect(await lanes(last)).toEqual([[0, true]]);
      await last.close();
      await drop();
    });
  });
