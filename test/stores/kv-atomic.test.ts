/** Writing what follows from what is there, several entries at once, locks, and what the database cannot do. */
import { expect, test } from '@jest/globals';
import type { Entry, KeyValueStore } from '../../src/index.js';
import { describeKv } from '../support/kv-targets.js';

describeKv('kv in one step', ({ storage, target, open }) => {
  const kv = (): KeyValueStore => storage().kv;

  test('compares and sets', async () => {
    expect(await kv().setIfAbsent('cas', 'a', { x: 1, y: 2 })).toMatchObject({ ok: true, entry: { version: 1 } });
    expect(await kv().setIfAbsent('cas', 'a', 2)).toMatchObject({ ok: false, entry: { value: { x: 1, y: 2 } } });
    expect(await kv().compareAndSet('cas', 'a', 2, { ifValue: { y: 2, x: 1 } })).toMatchObject({ ok: true });
    expect(await kv().compareAndSet('cas', 'a', 3, { ifVersion: 1 })).toMatchObject({ ok: false, entry: { value: 2 } });
    expect(await kv().compareAndSet('cas', 'a', 3, { ifVersion: 2 })).toMatchObject({ ok: true, entry: { value: 3 } });
    expect(await kv().compareAndSet('cas', 'b', 3, { ifValue: null })).toMatchObject({
      ok: false,
      entry: { found: false },
    });
    const racers = Array.from({ length: 8 }, (_, i) => kv().setIfAbsent('cas', 'race', i));
    expect((await Promise.all(racers)).filter(({ ok }) => ok)).toHaveLength(1);
  });

  test('takes, exchanges and updates', async () => {
    expect(await kv().getAndSet('x', 'a', 1)).toMatchObject({ former: { found: false }, entry: { value: 1 } });
    expect(await kv().getAndSet('x', 'a', 'two')).toMatchObject({ former: { value: 1 }, entry: { value: 'two' } });
    const taken = await Promise.all(Array.from({ length: 5 }, () => kv().getAndDelete('x', 'a')));
    expect(taken.filter(({ found }) => found)).toEqual([expect.objectContaining({ value: 'two' })]);
    const { expiresAt } = await kv().set('x', 'list', [], { ttlSeconds: 60 });
    const append = (i: number): Promise<unknown> =>
      kv().update('x', 'list', (value) => [...(value as readonly number[]), i]);
    await Promise.all([1, 2, 3].map(append));
    const list = await kv().get('x', 'list');
    expect(list).toMatchObject({ expiresAt });
    expect(new Set((list as Entry).value as number[])).toEqual(new Set([1, 2, 3]));
    await expect(kv().update('x', 'list', () => undefined)).rejects.toMatchObject({ code: 'VALIDATION' });
  });

  test('computes once for all who ask', async () => {
    let computed = 0;
    const compute = async (): Promise<{ n: number }> => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return { n: ++computed };
    };
    const entries = await Promise.all(
      Array.from({ length: 10 }, () => storage().tenant('default').kv.getOrSet('once', 'a', compute)),
    );
    expect(computed).toBe(1);
    expect(entries.map(({ value }) => value)).toEqual(Array.from({ length: 10 }, () => ({ n: 1 })));
    await expect(kv().getOrSet('once', 'b', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await kv().getOrSet('once', 'b', () => 5)).toMatchObject({ value: 5 });
  });

  test('who waits for what another computes waits by its own bounds, and the others go on', async () => {
    let release!: (value: number) => void;
    const gate = new Promise<number>((resolve) => (release = resolve));
    let begun!: () => void;
    const computing = new Promise<void>((resolve) => (begun = resolve));
    let computed = 0;
    const compute = (): Promise<number> => {
      computed++;
      begun();
      return gate;
    };
    const gone = new AbortController();
    const patient = kv().getOrSet('bounds', 'a', compute, { timeout: 60_000 });
    await computing;
    const aborted = kv().getOrSet('bounds', 'a', compute, { signal: gone.signal });
    await expect(kv().getOrSet('bounds', 'a', compute, { timeout: 20 })).rejects.toMatchObject({ code: 'TIMEOUT' });
    gone.abort();
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' });
    release(7);
    expect(await patient).toMatchObject({ value: 7 });
    expect(await kv().get('bounds', 'a')).toMatchObject({ value: 7 });
    expect(computed).toBe(1);
  });

  test('a computation that never ends holds up nobody beyond the bounds of who began it', async () => {
    const never = (): Promise<never> => new Promise(() => undefined);
    await expect(kv().getOrSet('never', 'a', never, { timeout: 50 })).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(await kv().getOrSet('never', 'a', () => 1)).toMatchObject({ value: 1 });
    if (!target.transactions) return;
    const inside = storage().transaction((tx) => tx.kv.getOrSet('never', 'b', never, { timeout: 50 }));
    await expect(inside).rejects.toMatchObject({ code: 'TIMEOUT' });
  });

  test('locks with tokens that only grow', async () => {
    const lock = await kv().lock('l', 'a', { ttlSeconds: 60 });
    await expect(kv().lock('l', 'a', { ttlSeconds: 60 })).rejects.toMatchObject({ code: 'CONFLICT', retryable: true });
    expect(await kv().unlock('l', 'a', lock.token + 1)).toBe(false);
    const extended = await kv().extend('l', 'a', lock.token, { ttlSeconds: 600 });
    expect(extended.expiresAt.getTime()).toBeGreaterThan(lock.expiresAt.getTime());
    expect(await kv().unlock('l', 'a', lock.token)).toBe(true);
    expect(await kv().unlock('l', 'a', lock.token)).toBe(false);
    await expect(kv().extend('l', 'a', lock.token, { ttlSeconds: 1 })).rejects.toMatchObject({ code: 'LEASE_LOST' });
    await kv().clear('l', { all: true });
    const racers = Array.from({ length: 6 }, () => kv().lock('l', 'a', { ttlSeconds: 60 }));
    const won = (await Promise.allSettled(racers)).flatMap((outcome) =>
      outcome.status === 'fulfilled' ? [outcome.value] : [],
    );
    expect(won).toEqual([expect.objectContaining({ token: lock.token + 1 })]);
  });

  test("locks that are over are another's, and nothing of the former holder counts any more", async () => {
    const former = await kv().lock('over', 'a', { ttlSeconds: 0.01 });
    let lock: { readonly token: number } | undefined;
    while (lock === undefined)
      lock = await kv()
        .lock('over', 'a', { ttlSeconds: 60 })
        .catch((error: unknown) => {
          expect(error).toMatchObject({ code: 'CONFLICT' });
          return undefined;
        });
    expect(lock.token).toBe(former.token + 1);
    await expect(kv().extend('over', 'a', former.token, { ttlSeconds: 1 })).rejects.toMatchObject({
      code: 'LEASE_LOST',
    });
    expect(await kv().unlock('over', 'a', former.token)).toBe(false);
    expect(await kv().unlock('over', 'a', lock.token)).toBe(true);
  });

  test('lists by prefix, page by page', async () => {
    for (const key of ['b', 'a/2', 'a/1', 'a/3', 'a']) await kv().set('list', key, key);
    const first = await kv().list('list', { prefix: 'a/', limit: 2 });
    expect(first.items.map(({ key }) => key)).toEqual(['a/1', 'a/2']);
    const second = await kv().list('list', { prefix: 'a/', limit: 2, after: first.next! });
    expect(second.items.map(({ key }) => key)).toEqual(['a/3']);
    expect(second.next).toBeUndefined();
    await expect(kv().list('list', { after: first.next! })).rejects.toMatchObject({ code: 'INVALID_CURSOR' });
    expect((await kv().getMany('list', ['b', 'none', 'b'])).map(({ found }) => found)).toEqual([true, false, true]);
    expect(await kv().listNamespaces()).toContain('list');
    expect(await kv().clear('list', { all: true })).toBe(5);
    expect(await kv().usage('list')).toMatchObject({ bytes: 0, entries: 0 });
  });

  test('deletes only the version that was meant', async () => {
    await kv().set('del', 'a', 1);
    await expect(kv().delete('del', 'a', { ifVersion: 2 })).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await kv().delete('del', 'a', { ifVersion: 1 })).toEqual({ namespace: 'del', key: 'a', deleted: true });
    expect(await kv().delete('del', 'a')).toMatchObject({ deleted: false });
  });

  test('says what it can do, and refuses the rest before it does anything', async () => {
    const { transactions } = target;
    const { capabilities } = kv();
    expect(capabilities).toEqual({
      entries: true,
      batches: transactions,
      quotas: transactions,
      globalQuota: transactions,
      locks: true,
      watch: false,
      incrementFloat: false,
    });
    const unsupported = { code: 'UNSUPPORTED' };
    await expect(kv().watch()).rejects.toMatchObject(unsupported);
    await expect(kv().incrementFloat()).rejects.toMatchObject(unsupported);
    await expect(kv().listEvents('a')).rejects.toMatchObject(unsupported);
    const items = [
      { key: 'a', value: 1 },
      { key: 'b', value: 'two', ttlSeconds: 60 },
    ];
    if (transactions) {
      expect(await kv().setMany('many', items)).toMatchObject([{ value: 1 }, { value: 'two', ttlSeconds: 60 }]);
      expect((await kv().deleteMany('many', ['b', 'c', 'b'])).map(({ deleted }) => deleted)).toEqual([
        true,
        false,
        true,
      ]);
      expect(await kv().has('many', 'a')).toBe(true);
      const inside = storage().transaction((tx) => tx.kv.lock('many', 'l', { ttlSeconds: 1 }));
      await expect(inside).rejects.toMatchObject(unsupported);
    } else {
      await expect(kv().setMany('many', items)).rejects.toMatchObject(unsupported);
      await expect(kv().deleteMany('many', ['a', 'b'])).rejects.toMatchObject(unsupported);
      expect(await kv().has('many', 'a')).toBe(false);
      await using quotas = await open({ namespaceQuotaBytes: 100 });
      await expect(quotas.kv.set('many', 'a', 1)).rejects.toMatchObject(unsupported);
      await expect(quotas.kv.increment('many', 'a')).rejects.toMatchObject(unsupported);
      expect(await quotas.kv.get('many', 'a')).toMatchObject({ found: false });
    }
  });
});
