/** Quotas of a namespace, of a tenant and of all tenants, and what is counted in them. */
import { afterEach, expect, test } from '@jest/globals';
import { bareUnit } from '../../src/adapters/kv/bare-unit.js';
import { namespaceCounter, USAGE } from '../../src/adapters/kv/usage.js';
import type { StorageManager } from '../../src/index.js';
import { describeKv, type KvSettings } from '../support/kv-targets.js';
import { databaseOf } from '../support/open-parts.js';

const bytes = (n: number): string => 'x'.repeat(n - 2);
const expired = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

describeKv(
  'kv quotas',
  ({ open, target }) => {
    let opened: StorageManager | undefined;
    const withQuotas = async (settings: KvSettings): Promise<StorageManager> => (opened = await open(settings));
    afterEach(async () => {
      await opened?.close();
      opened = undefined;
    });

    test('a namespace takes what it may, to the byte, and always less', async () => {
      const { kv } = await withQuotas({ namespaceQuotaBytes: 128 });
      await kv.set('user.1', 'a', bytes(34));
      await kv.set('user.1', 'b', bytes(94));
      const over = { code: 'QUOTA_EXCEEDED', details: { scope: 'namespace', limit: 128, used: 128, needed: 1 } };
      await expect(kv.set('user.1', 'c', 1)).rejects.toMatchObject(over);
      await expect(kv.set('user.1', 'a', bytes(35))).rejects.toMatchObject(over);
      await expect(kv.increment('user.1', 'c')).rejects.toMatchObject(over);
      await expect(
        kv.setMany('user.1', [
          { key: 'a', value: 1 },
          { key: 'c', value: bytes(40) },
        ]),
      ).rejects.toMatchObject({ code: 'QUOTA_EXCEEDED' });
      expect(await kv.get('user.1', 'a')).toMatchObject({ sizeBytes: 34 });
      expect(await kv.usage('user.1')).toEqual({ bytes: 128, entries: 2, quota: 128 });
      await kv.set('user.10', 'a', bytes(128));
      await kv.set('user.1', 'a', bytes(33));
      await kv.set('user.1', 'c', 9);
      await expect(kv.increment('user.1', 'c')).rejects.toMatchObject({ code: 'QUOTA_EXCEEDED' });
      await kv.delete('user.1', 'b');
      expect(await kv.increment('user.1', 'c')).toMatchObject({ value: 10 });
      expect(await kv.recountUsage('user.1')).toEqual({ bytes: 35, entries: 2, former: 35 });
    });

    test('of racers as many win as there is room for', async () => {
      const { kv } = await withQuotas({ namespaceQuotaBytes: 100 });
      const racers = Array.from({ length: 12 }, (_, i) => kv.set('race', `k${i}`, bytes(20)));
      const outcomes = await Promise.allSettled(racers);
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(5);
      const codes = outcomes.flatMap((outcome) =>
        outcome.status === 'rejected' ? [(outcome.reason as { code: string }).code] : [],
      );
      expect(new Set(codes)).toEqual(new Set(['QUOTA_EXCEEDED']));
      expect(await kv.recountUsage('race')).toMatchObject({ bytes: 100, former: 100 });
    });

    test('what has expired takes no room', async () => {
      const { kv } = await withQuotas({ namespaceQuotaBytes: 100 });
      for (let i = 0; i < 3; i++) await kv.set('old', `k${i}`, bytes(30), { ttlSeconds: 0.001 });
      await expired();
      expect(await kv.usage('old')).toMatchObject({ bytes: 0, entries: 0 });
      await kv.set('old', 'new', bytes(100));
      expect(await kv.recountUsage('old')).toMatchObject({ bytes: 100, entries: 1, former: 100 });
      await expect(kv.set('old', 'k0', 1)).rejects.toMatchObject({ code: 'QUOTA_EXCEEDED', details: { used: 100 } });
    });

    test('of several who meet what has expired each gets the room that it gives back', async () => {
      const settings = { namespaceQuotaBytes: 1_000, tenantQuotaBytes: 1_000_000 };
      const { kv } = (await withQuotas(settings)).tenant('meet');
      await using other = target.server ? await open(settings) : undefined;
      const stores = [kv, other?.tenant('meet').kv ?? kv];
      for (const namespace of ['meet.1', 'meet.2', 'meet.3']) {
        await kv.set(namespace, 'old', bytes(950), { ttlSeconds: 0.001 });
        await expired();
        await Promise.all(Array.from({ length: 6 }, (_, i) => stores[i % 2]!.set(namespace, `k${i}`, bytes(60))));
        expect(await kv.recountUsage(namespace)).toMatchObject({ bytes: 360, entries: 6, former: 360 });
      }
    });

    test('the counters of what was emptied go, and what is written meanwhile is counted', async () => {
      const storage = await withQuotas({ namespaceQuotaBytes: 100, tenantQuotaBytes: 1_000_000 });
      const { kv } = storage.tenant('emptied');
      const { backend } = databaseOf(storage);
      let hours = 0;
      const sweep = (): Promise<number> => {
        const now = new Date(Date.now() + ++hours * 7_200_000);
        return USAGE.schema.sweep!(backend, now, 1_000, { now, deadline: Infinity });
      };
      const counters = async (...namespaces: string[]): Promise<(number | undefined)[]> => {
        const unit = bareUnit(backend, 'emptied', { now: new Date(), deadline: Infinity });
        const found = await unit.findMany(USAGE, namespaces.map(namespaceCounter));
        return found.map((counter) => counter?.value.bytes);
      };
      await kv.set('kept', 'k', bytes(30));
      await kv.set('gone', 'k', bytes(30));
      await kv.clear('gone', { all: true });
      expect(await counters('gone', 'kept')).toEqual([0, 30]);
      await sweep();
      expect(await counters('gone', 'kept')).toEqual([undefined, 30]);
      for (let i = 0; i < 10; i++) {
        await kv.delete('gone', 'k');
        await Promise.all([kv.set('gone', 'k', bytes(40)), sweep(), kv.set('gone', `k${i % 2}`, bytes(20))]);
      }
      expect(await kv.recountUsage('gone')).toMatchObject({ bytes: 80, former: 80 });
      await expect(kv.set('gone', 'more', bytes(21))).rejects.toMatchObject({ details: { used: 80 } });
      expect(await kv.recountUsage()).toMatchObject({ bytes: 110, former: 110 });
    });

    test('a tenant has a quota of its own, over its namespaces', async () => {
      const storage = await withQuotas({ namespaceQuotaBytes: 0, tenantQuotaBytes: 50 });
      const [a, b] = [storage.tenant('qa').kv, storage.tenant('qb').kv];
      await a.set('x', 'k', bytes(30));
      await b.set('x', 'k', bytes(50));
      const over = { code: 'QUOTA_EXCEEDED', details: { scope: 'tenant', limit: 50, used: 30 } };
      await expect(a.set('y', 'k', bytes(21))).rejects.toMatchObject(over);
      await a.set('y', 'k', bytes(20));
      expect(await a.recountUsage()).toMatchObject({ bytes: 50, former: 50 });
    });

    test('all tenants have one together', async () => {
      const before = await withQuotas({ namespaceQuotaBytes: 0, globalQuotaBytes: 1_000_000 });
      const { bytes: used } = await before.kv.recountGlobalUsage();
      await before.close();
      const storage = await withQuotas({ namespaceQuotaBytes: 0, globalQuotaBytes: used + 60 });
      const [a, b] = [storage.tenant('ga').kv, storage.tenant('gb').kv];
      await a.set('x', 'k', bytes(40));
      const over = { code: 'QUOTA_EXCEEDED', details: { scope: 'global', limit: used + 60, needed: 21 } };
      await expect(b.set('x', 'k', bytes(21))).rejects.toMatchObject(over);
      expect(await b.has('x', 'k')).toBe(false);
      await storage.tenant('gb').transaction(async (tx) => {
        await expect(tx.kv.set('x', 'k', bytes(21))).rejects.toMatchObject(over);
        await tx.kv.set('x', 'k', bytes(20));
      });
      await a.delete('x', 'k');
      await b.set('x', 'l', bytes(40));
      expect(await storage.kv.recountGlobalUsage()).toMatchObject({ bytes: used + 60 });
      await expect(storage.tenant('ga').kv.recountGlobalUsage()).rejects.toMatchObject({ code: 'VALIDATION' });
    });

    test('of several that are full the narrowest is told', async () => {
      const before = await withQuotas({ namespaceQuotaBytes: 0, globalQuotaBytes: 1_000_000 });
      const { bytes: used } = await before.kv.recountGlobalUsage();
      await before.close();
      const quotas = { namespaceQuotaBytes: 60, tenantQuotaBytes: 60, globalQuotaBytes: used + 60 };
      const refused = async (settings: KvSettings): Promise<unknown> => {
        const storage = await withQuotas(settings);
        const { kv } = storage.tenant('full');
        await kv.set('x', 'k', bytes(60));
        const error: unknown = await kv.set('x', 'l', bytes(2)).catch((refusal: unknown) => refusal);
        await kv.delete('x', 'k');
        await storage.close();
        return error;
      };
      const scope = (name: string): object => ({ code: 'QUOTA_EXCEEDED', details: { scope: name } });
      expect(await refused(quotas)).toMatchObject(scope('namespace'));
      expect(await refused({ ...quotas, tenantQuotaBytes: 0 })).toMatchObject(scope('namespace'));
      expect(await refused({ ...quotas, globalQuotaBytes: 0 })).toMatchObject(scope('namespace'));
      expect(await refused({ ...quotas, namespaceQuotaBytes: 0 })).toMatchObject(scope('tenant'));
      expect(await refused({ ...quotas, namespaceQuotaBytes: 0, tenantQuotaBytes: 0 })).toMatchObject(scope('global'));
    });

    // Elsewhere each manager has a database of its own.
    if (target.server)
      test('a quota that is new finds what is there, and a rolled back write takes nothing', async () => {
        const free = await withQuotas({ namespaceQuotaBytes: 0 });
        await free.kv.set('late', 'a', bytes(60));
        await free.kv.increment('late', 'n', { delta: 12_345 });
        await free.close();
        const storage = await withQuotas({ namespaceQuotaBytes: 100 });
        const { kv } = storage;
        await expect(kv.set('late', 'b', bytes(36))).rejects.toMatchObject({ details: { used: 65, needed: 36 } });
        const failing = storage.transaction(async (tx) => {
          await tx.kv.set('late', 'b', bytes(35));
          throw new Error('no');
        });
        await expect(failing).rejects.toThrow('no');
        expect(await kv.usage('late')).toMatchObject({ bytes: 65, entries: 2 });
        await kv.set('late', 'b', bytes(35));
        expect(await kv.recountUsage('late')).toMatchObject({ bytes: 100, former: 100 });
      });

    if (target.server)
      test('what has expired takes no room of a quota that is new', async () => {
        await using before = await open({ namespaceQuotaBytes: 0, tenantQuotaBytes: 1_000_000 });
        await before.tenant('renewed').kv.set('renewed', 'old', bytes(90), { ttlSeconds: 0.001 });
        await expired();
        const { kv } = (await withQuotas({ namespaceQuotaBytes: 100 })).tenant('renewed');
        await kv.set('renewed', 'new', bytes(60));
        expect(await kv.recountUsage('renewed')).toMatchObject({ bytes: 60, entries: 1, former: 60 });
      });
  },
  ['with quotas'],
);
