/** Entries that are deleted and set again begin at version 1 again: nothing takes the new one for the one it has read. */
import { expect, test } from '@jest/globals';
import { isStorageError, type KeyValue, type KeyValueStore } from '../../src/index.js';
import { describeKv } from '../support/kv-targets.js';

const WORKERS = 6;
const STEPS = 40;

/** What each call gave of what others had set, once all have ended; and what is left at the end. */
async function race(
  stores: readonly KeyValueStore[],
  key: string,
  step: (kv: KeyValueStore, worker: number, value: string) => Promise<KeyValue | undefined>,
): Promise<string[]> {
  const given: string[] = [];
  const note = (entry: KeyValue | undefined): void => {
    if (entry?.found === true) given.push(entry.value as string);
  };
  const work = async (worker: number): Promise<void> => {
    for (let i = 0; i < STEPS; i++) {
      // All of one length: the sizes tell nothing.
      const value = `${worker}-${String(i).padStart(3, '0')}`;
      try {
        note(await step(stores[worker % stores.length]!, worker, value));
      } catch (error) {
        // One that was never faster than the others has written nothing.
        if (!isStorageError(error, 'CONFLICT')) throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, (_, worker) => work(worker)));
  note(await stores[0]!.getAndDelete('again', key));
  return given.sort();
}

describeKv('kv of entries made again', ({ storage, target, open }) => {
  const kv = (): KeyValueStore => storage().kv;

  test('what an update was made of is what it replaces', async () => {
    await kv().set('again', 'update', 'old');
    let calls = 0;
    const { value } = await kv().update<string>('again', 'update', async (current) => {
      if (calls++ === 0) {
        await kv().delete('again', 'update');
        await kv().set('again', 'update', 'new');
      }
      return `${current}!`;
    });
    expect({ calls, value }).toEqual({ calls: 2, value: 'new!' });
  });

  test('a number that is counted from nothing again is another one, too', async () => {
    await kv().increment('again', 'count', { delta: 5 });
    let calls = 0;
    const { value } = await kv().update('again', 'count', async (current) => {
      if (calls++ === 0) {
        await kv().delete('again', 'count');
        await kv().increment('again', 'count', { delta: 7 });
      }
      return (current as number) * 10;
    });
    expect({ calls, value }).toEqual({ calls: 2, value: 70 });
    await kv().setIfAbsent('again', 'several', 'old');
    await kv().setMany('again', [{ key: 'several', value: 'sad' }]);
    expect(await kv().getAndDelete('again', 'several')).toMatchObject({ value: 'sad', version: 2 });
    expect(await kv().get('again', 'several')).toMatchObject({ found: false });
    expect(await kv().set('again', 'several', 'new')).toMatchObject({ version: 1 });
  });

  test('everything that was set is given to one caller', async () => {
    // Of what only one process can open, another manager would have a database of its own.
    await using other = target.server ? await open(storage().settings.kv) : undefined;
    const written: string[] = [];
    const given = await race([kv(), other?.kv ?? kv()], 'each', async (store, worker, value) => {
      if (worker < 3) return store.getAndDelete('again', 'each');
      if (worker === 3) {
        const { former } = await store.getAndSet('again', 'each', value);
        written.push(value);
        return former;
      }
      if ((await store.setIfAbsent('again', 'each', value)).ok) written.push(value);
      return undefined;
    });
    expect(given).toEqual(written.sort());
  });

  test('beside plain sets and deletions nothing is given twice', async () => {
    const given = await race([kv()], 'most', async (store, worker, value) => {
      if (worker < 3) return store.getAndDelete('again', 'most');
      if (worker === 3) await store.delete('again', 'most');
      else await store.set('again', 'most', value);
      return undefined;
    });
    expect(given).toEqual([...new Set(given)]);
  });
});
