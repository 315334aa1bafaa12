/** Writes in Pinecone to a namespace that the service does not know yet, on a stand-in. */
import { describe, expect, test } from '@jest/globals';
import { systemClock, type Clock } from '../src/clock.js';
import { fill, usePinecone } from './support/pinecone/fixture.js';

const opened = usePinecone();

const absent = { status: 404, message: 'Namespace not found' };
const records = [{ id: 'a', vector: [1, 0] }];

describe('a namespace that the service does not know yet', () => {
  test('is written to again', async () => {
    const { store, standIn } = await opened();
    await store.createCollection({ name: 'docs', dimension: 2 });
    standIn.fail('upsertVectors', absent, 2);
    expect(await store.upsert('docs', records)).toMatchObject({ written: 1 });
    expect(await store.count('docs')).toBe(1);
  });

  test('and is not known in time is UNAVAILABLE', async () => {
    const { store, standIn } = await opened();
    await store.createCollection({ name: 'docs', dimension: 2 });
    standIn.fail('upsertVectors', absent, 1_000);
    const refusal = { code: 'UNAVAILABLE', retryable: true };
    await expect(store.upsert('docs', records, { timeout: 2_000 })).rejects.toMatchObject(refusal);
    standIn.recover();
    await store.upsert('docs', records);
    standIn.fail('deleteVectors', absent, 1_000);
    await expect(store.delete('docs', ['a'], { timeout: 2_000 })).rejects.toMatchObject(refusal);
  });

  test('keeps no record of ours that is deleted', async () => {
    const { store, standIn } = await opened();
    await fill(store, 'docs', 3);
    standIn.fail('deleteVectors', absent, 2);
    await store.delete('docs', ['r0']);
    expect(await store.count('docs')).toBe(2);
    await store.upsert('docs', records);
    standIn.fail('deleteVectors', absent, 2);
    await store.delete('docs', { all: true });
    expect(await store.count('docs')).toBe(0);
  });

  test('is empty when the answer of the deletion of all was lost', async () => {
    const { store, standIn } = await opened();
    await fill(store, 'docs', 3);
    standIn.fail('deleteVectors', 'lost');
    expect(await store.delete('docs', { all: true })).toEqual({});
    expect(standIn.seen('deleteVectors')).toHaveLength(2);
    const search = (): Promise<unknown[]> => store.search('docs', { vector: [1, 0], consistency: 'session' });
    expect(await search()).toEqual([]);
    // In a namespace that counts its writes anew.
    await store.upsert('docs', records);
    expect(await search()).toHaveLength(1);
  });

  test('and that nothing says is there is empty: there is nothing to delete', async () => {
    let later = 0;
    const clock: Clock = { ...systemClock, monotonic: () => systemClock.monotonic() + later };
    const { store, standIn } = await opened({}, {}, clock);
    await fill(store, 'docs', 1);
    const gone = async (): Promise<void> => {
      const before = standIn.seen('deleteVectors').length;
      standIn.fail('deleteVectors', absent);
      // The deadline is told by a clock that does not run ahead.
      await store.delete('docs', ['r0'], { timeout: later + 30_000 });
      expect(standIn.seen('deleteVectors')).toHaveLength(before + 1);
    };
    await store.delete('docs', ['r0']);
    // It may have been the last record.
    await gone();
    await store.upsert('docs', records);
    // Another process may have emptied it meanwhile.
    later += 61_000;
    await gone();
  });
});
