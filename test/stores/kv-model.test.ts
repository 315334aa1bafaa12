/** The key-value store does what a plain Map does: random operations under a clock that the test moves. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isDeepStrictEqual } from 'node:util';
import { systemClock, type Clock } from '../../src/clock.js';
import { isStorageError, type KeyValueStore } from '../../src/index.js';
import { StorageManager } from '../../src/manager.js';
import { registry } from '../../src/registry.js';
import { loadSettings } from '../../src/settings.js';
import { PGLITE_IN_MEMORY } from '../support/pglite-memory.js';

interface ModelEntry {
  readonly value: unknown;
  /** Milliseconds; absent: never. */
  readonly expires: number | undefined;
  readonly version: number;
}

/** Where the clock of the storage stands. */
let time = 0;

class Model {
  private readonly entries = new Map<string, ModelEntry>();

  live(key: string): ModelEntry | undefined {
    const entry = this.entries.get(key);
    return entry === undefined || (entry.expires !== undefined && entry.expires <= time) ? undefined : entry;
  }

  /** @param version what the store gave, which the model knows only of an entry that was there */
  put(key: string, value: unknown, expires: number | undefined, version: number): void {
    const before = this.live(key);
    if (before !== undefined) expect(version).toBe(before.version + 1);
    this.entries.set(key, { value, expires, version });
  }

  remove(key: string): boolean {
    const was = this.live(key) !== undefined;
    this.entries.delete(key);
    return was;
  }

  list(prefix = ''): [string, unknown][] {
    const keys = [...this.entries.keys()].filter((key) => key.startsWith(prefix) && this.live(key) !== undefined);
    return keys.sort().map((key) => [key, this.live(key)!.value]);
  }
}

type Ttl = number | null | undefined;
const until = (ttl: Ttl): number | undefined => (typeof ttl === 'number' ? time + Math.ceil(ttl * 1_000) : undefined);

const key = fc.constantFrom('a', 'ab', 'abc', 'b', 'ba');
const value = fc.oneof(
  fc.integer({ min: -20, max: 20 }),
  fc.constantFrom(null, true, 'text', 1.5, { a: [1, { b: null }] }),
);
const ttl: fc.Arbitrary<Ttl> = fc.constantFrom(undefined, undefined, null, 0.5, 1, 2.001);
const operation = fc.oneof(
  fc.record({ kind: fc.constant('set' as const), key, value, ttl }),
  fc.record({ kind: fc.constant('get' as const), key }),
  fc.record({ kind: fc.constant('increment' as const), key, delta: fc.integer({ min: -120, max: 120 }), ttl }),
  fc.record({
    kind: fc.constant('compare' as const),
    key,
    value,
    ttl,
    by: fc.constantFrom('value', 'version', 'absent'),
    holds: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('delete' as const), key }),
  fc.record({ kind: fc.constant('setMany' as const), keys: fc.uniqueArray(key, { maxLength: 4 }), value, ttl }),
  fc.record({ kind: fc.constant('touch' as const), key, seconds: fc.constantFrom(0.5, 3) }),
  fc.record({ kind: fc.constant('getMany' as const), keys: fc.uniqueArray(key, { minLength: 1 }) }),
  fc.record({ kind: fc.constant('exchange' as const), key, value, by: fc.constantFrom('getAndSet', 'update') }),
  fc.record({ kind: fc.constant('getAndDelete' as const), key }),
  fc.record({ kind: fc.constant('getOrSet' as const), key, value }),
  fc.record({ kind: fc.constant('list' as const), prefix: fc.constantFrom('a', 'ab', 'b', 'c') }),
  fc.record({ kind: fc.constant('wait' as const), milliseconds: fc.constantFrom(1, 499, 500, 1_000, 5_000) }),
);
type Operation = typeof operation extends fc.Arbitrary<infer O> ? O : never;

async function apply(kv: KeyValueStore, namespace: string, model: Model, step: Operation): Promise<void> {
  switch (step.kind) {
    case 'wait':
      time += step.milliseconds;
      return;
    case 'set': {
      const entry = await kv.set(namespace, step.key, step.value, { ttlSeconds: step.ttl });
      expect(entry.value).toEqual(step.value);
      return model.put(step.key, step.value, until(step.ttl), entry.version);
    }
    case 'get': {
      const [entry, known] = [await kv.get(namespace, step.key), model.live(step.key)];
      expect(entry.found).toBe(known !== undefined);
      if (!entry.found || known === undefined) return;
      expect([entry.value, entry.version]).toEqual([known.value, known.version]);
      expect(entry.ttlSeconds).toBe(known.expires === undefined ? undefined : (known.expires - time) / 1_000);
      return;
    }
    case 'increment': {
      const known = model.live(step.key);
      const counted = kv.increment(namespace, step.key, { delta: step.delta, ttlSeconds: step.ttl });
      if (known !== undefined && !Number.isSafeInteger(known.value)) {
        const code = await counted.then(
          () => 'none',
          (error: unknown) => isStorageError(error) && error.code,
        );
        return expect(code).toBe('NOT_A_NUMBER');
      }
      const entry = await counted;
      const sum = ((known?.value as number | undefined) ?? 0) + step.delta;
      expect(entry.value).toBe(sum);
      return model.put(step.key, sum, step.ttl === undefined ? known?.expires : until(step.ttl), entry.version);
    }
    case 'compare': {
      const known = model.live(step.key);
      const { by, holds } = step;
      const condition =
        by === 'absent'
          ? ({ ifAbsent: true } as const)
          : by === 'version'
            ? { ifVersion: (known?.version ?? 1) + (holds ? 0 : 1) }
            : { ifValue: holds ? (known?.value ?? null) : 'another' };
      const expected =
        by === 'absent'
          ? known === undefined
          : known !== undefined && (holds || (by === 'value' && isDeepStrictEqual(known.value, 'another')));
      const { ok, entry } = await kv.compareAndSet(namespace, step.key, step.value, {
        ttlSeconds: step.ttl,
        ...condition,
      });
      expect(ok).toBe(expected);
      if (ok && entry.found) model.put(step.key, step.value, until(step.ttl), entry.version);
      else expect(entry.found && entry.value).toEqual(known !== undefined && known.value);
      return;
    }
    case 'delete': {
      const { deleted } = await kv.delete(namespace, step.key);
      return expect(deleted).toBe(model.remove(step.key));
    }
    case 'setMany': {
      const items = step.keys.map((one) => ({ key: one, value: step.value, ttlSeconds: step.ttl }));
      const entries = await kv.setMany(namespace, items);
      expect(entries.map((entry) => entry.key)).toEqual(step.keys);
      for (const entry of entries) model.put(entry.key, step.value, until(step.ttl), entry.version);
      return;
    }
    case 'touch': {
      const known = model.live(step.key);
      const entry = await kv.touch(namespace, step.key, step.seconds);
      expect(entry.found).toBe(known !== undefined);
      if (entry.found && known !== undefined) model.put(step.key, known.value, until(step.seconds), entry.version);
      return;
    }
    case 'getMany': {
      const entries = await kv.getMany(namespace, step.keys);
      expect(entries.map((entry) => entry.found && [entry.value])).toEqual(
        step.keys.map((one) => model.live(one) !== undefined && [model.live(one)!.value]),
      );
      return;
    }
    case 'exchange': {
      let former: unknown;
      const known = model.live(step.key);
      if (step.by === 'update') {
        const entry = await kv.update(namespace, step.key, (before) => ((former = before), step.value));
        model.put(step.key, step.value, known?.expires, entry.version);
      } else {
        const { former: before, entry } = await kv.getAndSet(namespace, step.key, step.value);
        former = before.found ? before.value : undefined;
        model.put(step.key, step.value, undefined, entry.version);
      }
      return expect(former).toEqual(known?.value);
    }
    case 'getAndDelete': {
      const former = await kv.getAndDelete(namespace, step.key);
      const known = model.live(step.key);
      expect(former.found && [former.value]).toEqual(known !== undefined && [known.value]);
      expect(model.remove(step.key)).toBe(former.found);
      return;
    }
    case 'getOrSet': {
      const known = model.live(step.key);
      const entry = await kv.getOrSet(namespace, step.key, () => step.value);
      expect(entry.value).toEqual(known === undefined ? step.value : known.value);
      if (known === undefined) model.put(step.key, step.value, undefined, entry.version);
      return;
    }
    case 'list': {
      const { items } = await kv.list(namespace, { prefix: step.prefix });
      return expect(items.map((entry) => [entry.key, entry.value])).toEqual(model.list(step.prefix));
    }
  }
}

const MODES = { 'with quotas': { tenantQuotaBytes: 1_000_000_000 }, 'without quotas': { namespaceQuotaBytes: 0 } };

for (const [name, url] of Object.entries({ memory: 'memory:', pglite: PGLITE_IN_MEMORY }))
  for (const [mode, kv] of Object.entries(MODES))
    describe(`kv beside a Map on ${name}, ${mode}`, () => {
      let storage: StorageManager;
      const clock: Clock = { ...systemClock, now: () => new Date(time) };
      beforeAll(async () => {
        time = Date.now();
        const overrides = { databases: { main: { url } }, kv };
        const settings = await loadSettings({ registry, environment: {}, overrides });
        storage = new StorageManager({ registry, settings, clock });
        await storage.open();
        await storage.kv.get('first', 'use');
      });
      afterAll(() => storage.close());

      const seed = Math.floor(Math.random() * 2 ** 31);
      test(`random operations, seed ${seed}`, async () => {
        let runs = 0;
        let isFailing = false;
        // Runs begin for a second, and each one that has begun is ended: the time is all of theirs.
        const end = performance.now() + 1_000;
        const property = fc.asyncProperty(fc.array(operation, { maxLength: 25 }), async (steps) => {
          if (runs > 0 && !isFailing && performance.now() > end) return;
          isFailing = true;
          const [namespace, model] = [`run ${++runs}`, new Model()];
          for (const step of steps) await apply(storage.kv, namespace, model, step);
          const { items } = await storage.kv.list(namespace);
          expect(items.map((entry) => [entry.key, entry.value])).toEqual(model.list());
          expect((await storage.kv.listNamespaces()).includes(namespace)).toBe(items.length > 0);
          const bytes = items.reduce((sum, entry) => sum + entry.sizeBytes, 0);
          expect(await storage.kv.usage(namespace)).toMatchObject({ bytes, entries: items.length });
          isFailing = false;
        });
        await fc.assert(property, { seed, numRuns: 300 });
        expect(runs).toBeGreaterThan(0);
      });
    });
