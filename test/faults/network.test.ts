/** Units of work over a way that is slow, comes in pieces, or ends at any step. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { defineCollection, openStorage } from '../../src/index.js';
import { StorageManager } from '../../src/manager.js';
import { registry } from '../../src/registry.js';
import { loadSettings } from '../../src/settings.js';
import { describeServer, Fixture, serverUrl, until } from '../support/postgres/fixture.js';
import { Proxy } from '../support/proxy.js';

const Notes = defineCollection<{ text: string; n: number }>({ name: 'notes', fields: { n: 'number' }, id: 'given' });

describeServer('units of work over a network', () => {
  let fixture: Fixture;
  let proxy: Proxy;
  beforeAll(async () => {
    fixture = await Fixture.open();
    await using storage = await openStorage({ databases: { main: fixture.url } }, { environment: {} });
    await storage.transaction(async (tx) => {
      await tx.collection(Notes).save({ text: 'first', n: 0 }, { id: 'first' });
      await tx.outbox.enqueue({ topic: 'note', key: 'first', payload: 0 });
    });
  });
  beforeEach(async () => {
    proxy = await Proxy.open(serverUrl);
  });
  afterEach(() => proxy.close());
  afterAll(() => fixture.close());

  const settings = (pool: object = {}) => ({ databases: { main: { url: fixture.through(proxy.port), pool } } });

  test('slow by 200 ms: a unit of one write takes two round trips, a deadline is kept, health answers', async () => {
    await using storage = await openStorage(settings({ max: 2 }), { environment: {} });
    await storage.collection(Notes).count();
    proxy.delay(100);
    const before = proxy.roundTrips;
    const started = performance.now();
    await storage.transaction((tx) => tx.collection(Notes).save({ text: 'slow', n: 1 }, { id: 'slow' }));
    expect(performance.now() - started).toBeGreaterThan(390);
    expect(proxy.roundTrips - before).toBe(2);
    const late = performance.now();
    const impatient = storage.transaction((tx) => tx.collection(Notes).save({ text: '', n: 2 }, { id: 'never' }), {
      timeout: 150,
    });
    await expect(impatient).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(performance.now() - late).toBeLessThan(20_000);
    expect((await storage.ready()).ok).toBe(true);
    expect(await storage.collection(Notes).find('never')).toBeUndefined();
  });

  test('one byte at a time: what is written and read is whole', async () => {
    proxy.trickle();
    await using storage = await openStorage(settings({ max: 2 }), { environment: {} });
    const text = 'ü😀'.repeat(500);
    await storage.transaction(async (tx) => {
      await tx.collection(Notes).save({ text, n: 3 }, { id: 'bytes' });
      await tx.outbox.enqueue({ topic: 'note', key: 'bytes', payload: text });
    });
    expect((await storage.collection(Notes).get('bytes')).value).toEqual({ text, n: 3 });
  });

  test('a commit whose answer is lost: OUTCOME_UNKNOWN, run once, and neither hook is told', async () => {
    await using storage = await openStorage(settings({ max: 2 }), { environment: {} });
    await storage.collection(Notes).count();
    const told: string[] = [];
    proxy.loseAnswerTo((sent) => sent.includes('COMMIT'));
    const work = storage.transaction(async (tx) => {
      told.push('run');
      tx.onCommit(() => void told.push('committed'));
      tx.onRollback(() => void told.push('rolled back'));
      await tx.collection(Notes).increment('first', 'n', 1);
    });
    await expect(work).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN', retryable: false });
    expect(told).toEqual(['run']);
    expect((await storage.collection(Notes).get('first')).value.n).toBe(1);
  });

  test('cut in the midst: UNAVAILABLE or OUTCOME_UNKNOWN, nothing by half, and the next unit commits', async () => {
    await using storage = await openStorage(settings({ max: 2 }), { environment: {} });
    const notes = storage.collection(Notes);
    let outcome: string | undefined;
    let steps = 0;
    for (; outcome !== 'committed'; steps++) {
      await notes.count();
      proxy.cutAfter(steps);
      const ids = ['x', 'y'].map((half) => `${half}${steps}`);
      outcome = await storage
        .transaction(async (tx) => {
          for (const id of ids) await tx.collection(Notes).save({ text: '', n: 4 }, { id });
          await tx.outbox.enqueue({ topic: 'note', key: ids[0]!, payload: steps });
        })
        .then(
          () => 'committed',
          (error: { code: string }) => error.code,
        );
      proxy.cutAfter(Infinity);
      const found = (await notes.getMany(ids)).filter((one) => one !== undefined).length;
      if (outcome === 'committed') expect(found).toBe(2);
      else if (outcome === 'OUTCOME_UNKNOWN') expect([0, 2]).toContain(found);
      else expect([outcome, found]).toEqual(['UNAVAILABLE', 0]);
    }
    // BEGIN with the first statement, the others, COMMIT: each of them was cut once.
    expect(steps).toBeGreaterThan(4);
  });

  test('an opening that fails at any step leaves nothing open, and the next try of the same manager succeeds', async () => {
    const loaded = await loadSettings({ registry, environment: {}, overrides: settings({ max: 2 }) });
    let failures = 0;
    for (let steps = 0; ; steps++) {
      const storage = new StorageManager({ registry, settings: loaded });
      proxy.cutAfter(steps);
      const first = await storage.open().then(
        () => 'open',
        (error: { code: string }) => error.code,
      );
      if (first !== 'open') {
        failures++;
        expect(first).toBe('UNAVAILABLE');
        expect(storage.state).toBe('failed');
        await until(() => proxy.connections === 0);
      }
      proxy.cutAfter(Infinity);
      await storage.open();
      expect(await storage.collection(Notes).has('first')).toBe(true);
      await storage.close();
      await until(() => proxy.connections === 0);
      if (first === 'open') break;
    }
    expect(failures).toBeGreaterThan(2);
  });
});
