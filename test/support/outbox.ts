/** What the tests of the outbox write, and look for afterwards. */
import type { Enqueued } from '../../src/index.js';
import { ALL } from '../../src/filter/syntax.js';
import type { StorageManager } from '../../src/manager.js';
import { OUTBOX_TABLES } from '../../src/unit-of-work/outbox/records.js';
import { settled } from './manual-clock.js';
import { databaseOf } from './open-parts.js';

const context = () => ({ now: new Date(), deadline: performance.now() + 60_000 });

/** How many keys, lanes and messages there are. */
export async function kept(storage: StorageManager): Promise<number[]> {
  const { backend } = databaseOf(storage);
  return Promise.all(OUTBOX_TABLES.map((collection) => backend.count('all', { collection, filter: ALL }, context())));
}

/** Until the relays that run have ended every lane: a busy server may need several tries. */
export async function emptied(storage: StorageManager): Promise<void> {
  while ((await kept(storage))[1]! > 0) await settled();
}

export function enqueue(
  storage: Pick<StorageManager, 'transaction'>,
  key: string,
  payload: unknown,
  topic = 'mail',
): Promise<Enqueued> {
  return storage.transaction((tx) => tx.outbox.enqueue({ topic, key, payload }));
}

/** Writers side by side; what they leave is numbered by the order of their commits, a key apart. */
export async function fill(
  storage: Pick<StorageManager, 'transaction'>,
  keys: readonly string[],
  each: number,
): Promise<void> {
  const add = (key: string) =>
    storage.transaction(
      async (tx) => {
        const number = await tx.sequences().next(key);
        await tx.outbox.enqueue({ topic: 'mail', key, payload: number });
      },
      { retries: 1_000, timeout: 120_000 },
    );
  await Promise.all(keys.flatMap((key) => Array.from({ length: each }, () => add(key))));
}
