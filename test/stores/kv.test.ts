/** Entries one by one: values, expiry, counters, and what is there when several write at once. */
import { expect, test } from '@jest/globals';
import type { KeyValueStore } from '../../src/index.js';
import { describeKv } from '../support/kv-targets.js';

const PAST_TTL = 0.001;
const gone = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

describeKv('kv', (fixture) => {
  const kv = (): KeyValueStore => fixture.storage().kv;

  test('keeps what is set, a stored null too', async () => {
    expect(await kv().get('users', 'ann')).toEqual({ namespace: 'users', key: 'ann', found: false });
    const given = { age: 4, tags: ['x', null, 1.5] };
    const entry = await kv().set('users', ' ann ', given);
    given.tags.push('later');
    expect(entry).toMatchObject({ key: 'ann', found: true, value: { age: 4, tags: ['x', null, 1.5] }, sizeBytes: 31 });
    expect(await kv().get('users', 'ann')).toEqual(entry);
    await kv().set('users', 'bob', null);
    expect(await kv().get('users', 'bob')).toMatchObject({ found: true, value: null, sizeBytes: 4 });
    expect(await kv().has('users', 'bob')).toBe(true);
    expect(await kv().has('user', 'sbob')).toBe(false);
    await Promise.all(Array.from({ length: 8 }, (_, i) => kv().set('users', 'ann', i)));
    expect(await kv().get('users', 'ann')).toMatchObject({ version: 9 });
  });

  test('keeps every kind of value and of key', async () => {
    const values = ['', 'é\u{1f600}', 0, -1, 2 ** 53 - 1, 1.5, 1e300, true, false, [], {}, [[1]], { 'a.b': { $x: 1 } }];
    for (const [i, value] of values.entries()) {
      await kv().set('kinds', `k${i}`, value);
      expect(await kv().get('kinds', `k${i}`)).toMatchObject({
        value,
        sizeBytes: Buffer.byteLength(JSON.stringify(value)),
      });
    }
    const name = '\u{1f600}'.repeat(255);
    await kv().set(name, name, 1);
    expect(await kv().get(name, name)).toMatchObject({ namespace: name, key: name, value: 1 });
    // Neither runs into the other.
    await kv().set('ab', 'c', 'first');
    await kv().set('a', 'bc', 'second');
    expect(await kv().get('ab', 'c')).toMatchObject({ value: 'first' });
  });

  test('tells what is left of a time to live, and forgets what has expired at once', async () => {
    const entry = await kv().set('ttl', 'a', 1, { ttlSeconds: 60.25 });
    expect(entry).toMatchObject({ ttlSeconds: 60.25 });
    expect(entry.expiresAt!.getTime() - entry.updatedAt.getTime()).toBe(60_250);
    const left = await kv().ttl('ttl', 'a');
    expect(left).toBeGreaterThan(50);
    expect(left).toBeLessThanOrEqual(60.25);
    expect(await kv().set('ttl', 'a', 2)).not.toHaveProperty('ttlSeconds');
    expect(await kv().ttl('ttl', 'a')).toBeNull();
    expect(await kv().touch('ttl', 'a', 30)).toMatchObject({ value: 2, ttlSeconds: 30 });
    expect(await kv().persist('ttl', 'a')).not.toHaveProperty('ttlSeconds');
    await kv().set('ttl', 'b', 'x', { ttlSeconds: PAST_TTL });
    await gone();
    expect(await kv().get('ttl', 'b')).toMatchObject({ found: false });
    expect(await kv().ttl('ttl', 'b')).toBeUndefined();
    expect(await kv().touch('ttl', 'b', 5)).toMatchObject({ found: false });
    expect(await kv().persist('ttl', 'b')).toMatchObject({ found: false });
    expect(await kv().delete('ttl', 'b')).toMatchObject({ deleted: false });
    expect((await kv().list('ttl')).items.map(({ key }) => key)).toEqual(['a']);
    expect(await kv().usage('ttl')).toMatchObject({ bytes: 1, entries: 1 });
    const again = await kv().set('ttl', 'b', 'y');
    expect(again.createdAt).toEqual(again.updatedAt);
  });

  test('counts in one step: the first, one over an expired entry, and 400 of 8 at once', async () => {
    expect(await kv().increment('n', 'a', { initialValue: 10, delta: 2 })).toMatchObject({ value: 12 });
    expect(await kv().increment('n', 'a', { delta: -13 })).toMatchObject({ value: -1, sizeBytes: 2 });
    expect(await kv().increment('n', 'a')).toMatchObject({ value: 0, sizeBytes: 1 });
    await kv().set('n', 'b', 41, { ttlSeconds: PAST_TTL });
    await gone();
    expect(await kv().increment('n', 'b')).toMatchObject({ value: 1 });
    const lane = async (): Promise<void> => {
      for (let i = 0; i < 50; i++) await kv().increment('n', 'c');
    };
    await Promise.all(Array.from({ length: 8 }, lane));
    expect(await kv().get('n', 'c')).toMatchObject({ value: 400 });
  });

  test('keeps the time that is left to a counter unless it is given another', async () => {
    const { expiresAt } = await kv().increment('n', 'ttl', { ttlSeconds: 100 });
    expect(await kv().increment('n', 'ttl')).toMatchObject({ value: 2, expiresAt });
    expect((await kv().increment('n', 'ttl', { ttlSeconds: 200 })).ttlSeconds).toBe(200);
    expect(await kv().increment('n', 'ttl', { ttlSeconds: null })).not.toHaveProperty('ttlSeconds');
  });

  test('refuses to count what is no whole number, and beyond its bounds', async () => {
    for (const [i, value] of [true, '1', 1.5, null, [1], {}].entries()) {
      await kv().set('not', `k${i}`, value);
      await expect(kv().increment('not', `k${i}`)).rejects.toMatchObject({ code: 'NOT_A_NUMBER' });
      expect(await kv().get('not', `k${i}`)).toMatchObject({ value });
    }
    await kv().set('not', 'most', Number.MAX_SAFE_INTEGER);
    await expect(kv().increment('not', 'most')).rejects.toMatchObject({ code: 'NOT_A_NUMBER' });
    const limit = { max: 3 };
    for (let i = 1; i <= 3; i++) expect(await kv().increment('rate', 'a', limit)).toMatchObject({ value: i });
    const over = { code: 'CONFLICT', details: { reason: 'bounds', value: 3, max: 3 } };
    await expect(kv().increment('rate', 'a', limit)).rejects.toMatchObject(over);
    await expect(kv().increment('rate', 'new', { delta: -1, min: 0 })).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await kv().has('rate', 'new')).toBe(false);
    const racers = Array.from({ length: 20 }, () => kv().increment('rate', 'race', { max: 7 }));
    const won = (await Promise.allSettled(racers)).filter(({ status }) => status === 'fulfilled');
    expect(won).toHaveLength(7);
  });

  test('gives each tenant its own', async () => {
    const [a, b] = [fixture.storage().tenant('a').kv, fixture.storage().tenant('b').kv];
    await Promise.all([a.set('shared', 'k', 'of a'), b.set('shared', 'k', 'of b')]);
    await a.increment('shared', 'n', { delta: 5 });
    expect(await b.increment('shared', 'n')).toMatchObject({ value: 1 });
    expect(await a.get('shared', 'k')).toMatchObject({ value: 'of a' });
    expect(await b.usage('shared')).toMatchObject({ entries: 2, bytes: 7 });
    expect(await a.clear('shared', { all: true })).toBe(2);
    expect(await a.listNamespaces()).toEqual([]);
    expect(await b.listNamespaces()).toEqual(['shared']);
    const lock = await a.lock('shared', 'l', { ttlSeconds: 60 });
    await b.lock('shared', 'l', { ttlSeconds: 60 });
    expect(await b.unlock('shared', 'l', lock.token + 1)).toBe(false);
  });
});
