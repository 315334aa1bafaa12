/** A SQLite file that other processes write, too. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Write } from '../src/backends/backend.js';
import type { StorageError } from '../src/errors.js';
import { ALL } from '../src/filter/syntax.js';
import { write } from './support/sqlite/writer.js';
import { context, Folder, type OpenSqlite, openSqlite, parcels } from './support/sqlite/fixture.js';

const T = { tenant: 't' };
const all = { collection: parcels, filter: ALL };
const put = (id: string, value = {}): Write => ({ kind: 'put', collection: parcels, id, value });

let folder: Folder;
beforeEach(() => {
  folder = new Folder();
});
afterEach(() => folder.remove());

describe('two processes on one file', () => {
  test('both write, and nothing is lost', async () => {
    const file = folder.file();
    const one = write(file, 0, 150);
    const two = write(file, 1_000, 150);
    const { backend, close } = await openSqlite(`sqlite:${file}`);
    await backend.ensure([parcels], context());
    for (let i = 0; i < 150; i++) {
      const increment: Write = {
        kind: 'patch',
        collection: parcels,
        id: 'counter',
        changes: { increment: { weight: 1 } },
        orInsert: { weight: 1 },
      };
      await backend.write(T, [increment], context());
    }
    expect(await Promise.all([one.ended, two.ended])).toEqual([0, 0]);
    const [counter] = await backend.read(T, [{ collection: parcels, id: 'counter' }], context());
    expect(counter).toMatchObject({ version: 450, value: { weight: 450 } });
    expect(await backend.count(T, all, context())).toBe(901);
    await close();
  });

  test('make the tables together', async () => {
    const file = folder.file();
    const writers = [0, 1, 2, 3].map((i) => write(file, i * 100, 1));
    expect(await Promise.all(writers.map((writer) => writer.ended))).toEqual([0, 0, 0, 0]);
    const { backend, close } = await openSqlite(`sqlite:${file}`);
    expect(await backend.count(T, all, context())).toBe(13);
    await close();
  });

  test('that are killed leave whole batches, and all that they acknowledged', async () => {
    const file = folder.file();
    let first = 0;
    for (let round = 0; round < 4; round++) {
      const writer = write(file, first, 1_000_000);
      await writer.reached(20 + round * 13);
      writer.kill();
      await writer.ended;
      const { backend, close } = await openSqlite(`sqlite:${file}`);
      const found = await backend.find(
        T,
        { ...all, sort: [{ source: 'envelope', path: ['id'], type: 'string', direction: 'asc' }], limit: 1_000_000 },
        context(),
      );
      const batches = new Map<string, number>();
      for (const { id } of found)
        if (id !== 'counter') batches.set(id.split('-')[0]!, (batches.get(id.split('-')[0]!) ?? 0) + 1);
      expect([...batches.values()].every((parts) => parts === 3)).toBe(true);
      expect(writer.acknowledged.filter((batch) => !batches.has(String(batch)))).toEqual([]);
      expect(found.find(({ id }) => id === 'counter')?.value['weight']).toBe(batches.size);
      first = Math.max(...[...batches.keys()].map(Number)) + 1;
      await close();
    }
  });
});

describe('a lock of somebody else', () => {
  test('is waited for up to the deadline, with reads and the event loop free', async () => {
    const file = folder.file();
    const other = await openSqlite(`sqlite:${file}`);
    const { pool, backend, close } = await openSqlite(`sqlite:${file}`);
    await backend.ensure([parcels], context());
    await backend.write(T, [put('x', { weight: 1 })], context());
    let release!: () => void;
    const held = new Promise<void>((resolve) => (release = resolve));
    let begun!: () => void;
    const beginning = new Promise<void>((resolve) => (begun = resolve));
    const holder = other.pool.transaction({ context: context() }, async (session) => {
      await other.backend.write(T, [put('y')], context({ session }));
      begun();
      await held;
    });
    await beginning;
    const soon = () => context({ deadline: performance.now() + 150 });
    const late = [
      backend.write(T, [put('a')], soon()),
      backend.write(T, [put('a'), put('b')], soon()),
      pool.transaction({ context: soon() }, async () => undefined),
    ];
    let over = 0;
    const refused = Promise.all(
      late.map(async (each) => {
        await expect(each).rejects.toMatchObject({ code: 'TIMEOUT' });
        over++;
      }),
    );
    const controller = new AbortController();
    const cancelled = backend.write(T, [put('a')], context({ signal: controller.signal }));
    const aborted = expect(cancelled).rejects.toMatchObject({ code: 'ABORTED' });
    controller.abort();
    const [seen] = await backend.read(T, [{ collection: parcels, id: 'x' }], context());
    expect([seen?.value, over]).toEqual([{ weight: 1 }, 0]);
    await Promise.all([refused, aborted]);
    // Who opens meanwhile does not wait either.
    const third = await openSqlite(`sqlite:${file}`);
    await third.close();
    const patient = [
      backend.write(T, [put('c')], context()),
      backend.write(T, [put('d'), put('e')], context()),
      pool.transaction({ context: context() }, (session) => backend.write(T, [put('f')], context({ session }))),
    ];
    release();
    await holder;
    await Promise.all(patient);
    expect(await backend.count(T, all, context())).toBe(6);
    await close();
    await other.close();
  });

  describe('that many writers wait for', () => {
    const WRITERS = 100;

    /** Holds the lock until `release`. */
    async function hold({ pool, backend }: OpenSqlite) {
      let release!: () => void;
      const held = new Promise<void>((resolve) => (release = resolve));
      let begun!: () => void;
      const beginning = new Promise<void>((resolve) => (begun = resolve));
      const ended = pool.transaction({ context: context() }, async (session) => {
        await backend.write(T, [put('held')], context({ session }));
        begun();
        await held;
      });
      await beginning;
      return { release, ended };
    }

    test('leaves them their deadlines, and the event loop to others', async () => {
      const file = folder.file();
      const other = await openSqlite(`sqlite:${file}`);
      const { pool, backend, close } = await openSqlite(`sqlite:${file}`);
      await backend.ensure([parcels], context());
      const { release, ended } = await hold(other);
      const before = performance.eventLoopUtilization();
      const soon = context({ deadline: performance.now() + 4_000 });
      const waiting = Array.from({ length: WRITERS }, (_, i) => [
        backend.write(T, [put(`a${i}`)], soon),
        backend.write(T, [put(`b${i}`), put(`c${i}`)], soon),
        pool.transaction({ context: soon }, async () => undefined),
      ]).flat();
      const outcomes = await Promise.allSettled(waiting);
      const { utilization } = performance.eventLoopUtilization(before);
      const codes = outcomes.map((each) => each.status === 'rejected' && (each.reason as StorageError).code);
      expect(new Set(codes)).toEqual(new Set(['TIMEOUT']));
      // Others may keep this process from its turn meanwhile; a hundred who all ask would leave none of it.
      expect(utilization).toBeLessThan(0.9);
      release();
      await ended;
      await close();
      await other.close();
    });

    test('lets them write in the order in which they came, but for those that gave up', async () => {
      const file = folder.file();
      const other = await openSqlite(`sqlite:${file}`);
      const { pool, backend, close } = await openSqlite(`sqlite:${file}`);
      await backend.ensure([parcels], context());
      const { release, ended } = await hold(other);
      const done: number[] = [];
      const controller = new AbortController();
      const { signal } = controller;
      const waiting = Array.from({ length: WRITERS }, async (_, i) => {
        const own = i % 5 === 4 ? context({ signal }) : context();
        if (i % 3 === 0) await backend.write(T, [put(`${i}`)], own);
        else if (i % 3 === 1) await backend.write(T, [put(`${i}`), put(`${i} too`)], own);
        else await pool.transaction({ context: own }, () => Promise.resolve());
        done.push(i);
      });
      const outcomes = Promise.allSettled(waiting);
      controller.abort();
      release();
      await ended;
      const refused = (await outcomes).flatMap(({ status }, i) => (status === 'rejected' ? [i] : []));
      const all = Array.from({ length: WRITERS }, (_, i) => i);
      expect(refused).toEqual(all.filter((i) => i % 5 === 4));
      expect(done).toEqual(all.filter((i) => i % 5 !== 4));
      await close();
      await other.close();
    });
  });

  test('ends with the pool that waits for it', async () => {
    const file = folder.file();
    const other = await openSqlite(`sqlite:${file}`);
    const { backend, close } = await openSqlite(`sqlite:${file}`);
    await backend.ensure([parcels], context());
    await other.pool.transaction({ context: context() }, async () => {
      const waiting = expect(backend.write(T, [put('a')], context())).rejects.toMatchObject({ code: 'CLOSED' });
      await close();
      await waiting;
    });
    await other.close();
  });
});
