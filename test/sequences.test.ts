/** Numbers that are never given twice. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { defineOwnCollection } from '../src/collection/definition.js';
import { defineCollection, openStorage } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';
import { sharedMemory } from './support/shared-memory.js';
import { storageTargets } from './support/storage-targets.js';

const Invoices = defineCollection<{ n: number }>({ name: 'last_invoices', id: 'sequence' });
const Brought = defineCollection<{ n: number }>({ name: 'brought_invoices', id: 'sequence' });
/** The library's own, where the numbers of a sequence are kept. */
const Counters = defineOwnCollection<{ last: number }>({
  name: 'qm_counters',
  id: 'given',
  fields: { last: 'number' },
});

describe.each(storageTargets('sequences'))('sequences on $name', ({ prepare, transactions, patient }) => {
  let storage: StorageManager;
  let drop: () => Promise<void>;
  beforeAll(async () => {
    const { url, drop: end } = await prepare();
    drop = end;
    const lifecycle = { operationTimeout: 120_000 };
    storage = await openStorage({ databases: { main: { url, ...patient } }, lifecycle });
  });
  afterAll(async () => {
    await storage.close();
    await drop();
  });
  let tenants = 0;
  const fresh = () => storage.tenant(`t${++tenants}`);

  test('begin at 1, a tenant and a name apart', async () => {
    const [mine, other] = [fresh(), fresh()];
    expect(await mine.sequences().next('invoices-2026')).toBe(1);
    expect(await mine.sequences().nextMany('invoices-2026', 3)).toEqual([2, 3, 4]);
    expect(await mine.sequences().next('invoices')).toBe(1);
    expect(await other.sequences().next('invoices-2026')).toBe(1);
  });

  test('a fencing token has nothing to do with the sequence of that name', async () => {
    const numbers = fresh().sequences();
    expect(await numbers.nextMany('a', 2)).toEqual([1, 2]);
    expect([await numbers.fencingToken('a'), await numbers.fencingToken('a')]).toEqual([1, 2]);
    expect(await numbers.next('a')).toBe(3);
  });

  test('a number of a transaction that rolls back leaves no gap', async () => {
    const mine = fresh();
    await mine.sequences().next('n');
    if (!transactions) {
      await expect(mine.transaction((tx) => tx.sequences().next('n'))).rejects.toMatchObject({ code: 'UNSUPPORTED' });
      return;
    }
    await mine
      .transaction(async (tx) => {
        expect(await tx.sequences().next('n')).toBe(2);
        throw new Error('no');
      })
      .catch(() => undefined);
    expect(await mine.transaction((tx) => tx.sequences().next('n'))).toBe(2);
  });

  test('a fencing token in a transaction is refused: it would be given again', async () => {
    const mine = fresh();
    await mine.sequences().fencingToken('r');
    const work = mine.transaction((tx) => tx.sequences().fencingToken('r'));
    await expect(work).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  });

  test('many at once get every number once', async () => {
    const numbers = fresh().sequences();
    const given = await Promise.all([
      ...Array.from({ length: 20 }, async () => [await numbers.next('n')]),
      ...Array.from({ length: 5 }, () => numbers.nextMany('n', 4)),
    ]);
    const sorted = given.flat().sort((a, b) => a - b);
    expect(sorted).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
  });

  test('transactions that all take one get every number once, however many there are', async () => {
    if (!transactions) return;
    const mine = fresh();
    const take = (): Promise<number> => mine.transaction((tx) => tx.sequences().next('taken'));
    const taken = await Promise.all(Array.from({ length: 80 }, take));
    expect(taken.sort((a, b) => a - b)).toEqual(Array.from({ length: 80 }, (_, i) => i + 1));
  });

  test('goes on after the numbers that came from elsewhere', async () => {
    const numbers = fresh().sequences();
    await numbers.skipTo('moved', 0);
    expect(await numbers.next('moved')).toBe(1);
    await Promise.all([numbers.skipTo('moved', 361), numbers.skipTo('moved', 40)]);
    expect(await numbers.next('moved')).toBe(362);
    await numbers.skipTo('moved', 17);
    expect(await numbers.nextMany('moved', 2)).toEqual([363, 364]);
    for (const number of [-1, 1.5, 2 ** 52 + 1, '1' as unknown as number])
      await expect(numbers.skipTo('moved', number)).rejects.toMatchObject({
        code: 'VALIDATION',
        details: { key: 'number' },
      });
  });

  test('after 2^53 - 1 there is none, and none is given twice', async () => {
    const own = fresh();
    const mine = own.collection(Invoices);
    const last = Number.MAX_SAFE_INTEGER;
    await own.collection(Counters).save({ last: last - 2 }, { id: 'last_invoices' });
    expect((await mine.insert({ n: 2 })).id).toBe(String(last - 1));
    const full = { code: 'STORAGE_FULL', details: { reason: 'sequence', sequence: 'last_invoices' } };
    const two = [{ value: { n: 3 } }, { value: { n: 4 } }];
    if (transactions) await expect(mine.saveMany(two)).rejects.toMatchObject(full);
    else await mine.insert({ n: 3 });
    for (let again = 0; again < 2; again++) await expect(mine.insert({ n: 5 })).rejects.toMatchObject(full);
  });

  test('no number that is brought ends it', async () => {
    const mine = fresh().collection(Brought);
    for (const id of [String(2 ** 52 + 1), String(Number.MAX_SAFE_INTEGER)]) {
      const refused = { code: 'VALIDATION', message: expect.stringContaining('2^52') };
      await expect(mine.insert({ n: 6 }, { id })).rejects.toMatchObject(refused);
      await expect(mine.save({ n: 6 }, { id })).rejects.toMatchObject(refused);
      await expect(mine.patch(id, { set: { n: 6 } }, { orInsert: { n: 6 } })).rejects.toMatchObject(refused);
    }
    expect((await mine.save({ n: 7 }, { id: String(2 ** 52) })).id).toBe(String(2 ** 52));
    expect((await mine.insert({ n: 8 })).id).toBe(String(2 ** 52 + 1));
    expect((await mine.replace(String(2 ** 52 + 1), { n: 9 })).version).toBe(2);
  });

  test.each([
    ['an empty name', () => fresh().sequences().next('')],
    [
      'no name',
      () =>
        fresh()
          .sequences()
          .next(undefined as unknown as string),
    ],
    ['a name with a control character', () => fresh().sequences().next('a\n')],
    ['a name too long for its counter', () => fresh().sequences().next('x'.repeat(250))],
    [
      'options that are none',
      () =>
        fresh()
          .sequences()
          .next('a', null as unknown as undefined),
    ],
    ['no numbers', () => fresh().sequences().nextMany('a', 0)],
    ['a part of a number', () => fresh().sequences().nextMany('a', 1.5)],
    ['too many numbers', () => fresh().sequences().nextMany('a', 10_001)],
    [
      'a resource that is no text',
      () =>
        fresh()
          .sequences()
          .fencingToken(7 as unknown as string),
    ],
  ])('%s is refused', async (_case, call) => {
    await expect(call()).rejects.toMatchObject({ code: 'VALIDATION' });
  });
});

test('two managers over one memory never get the same number', async () => {
  const open = sharedMemory(7);
  const managers = await Promise.all([open(), open()]);
  const given = await Promise.all(
    Array.from({ length: 60 }, (_, i) => managers[i % 2]!.sequences().fencingToken('printer')),
  );
  expect(new Set(given).size).toBe(60);
  await Promise.all(managers.map((manager) => manager.close()));
});
