/** A transaction within a transaction: undone alone, or kept with the whole. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { serializationFailure } from '../src/errors.js';
import { defineCollection, type StorageError, type Transaction } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';
import { AheadClock, openOn } from './support/ahead-clock.js';
import { databaseOf } from './support/open-parts.js';
import { storageTargets } from './support/storage-targets.js';

const Notes = defineCollection<{ n: number; key?: string }>({
  name: 'inner_notes',
  fields: { n: 'number', key: 'string' },
  unique: [{ name: 'byKey', fields: ['key'] }],
  id: 'given',
});

const codeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'done',
    (error: StorageError) => error.code,
  );
const add = (tx: Transaction, id: string, key?: string): Promise<unknown> =>
  tx.collection(Notes).insert(key === undefined ? { n: 1 } : { n: 1, key }, { id });
const never = new Promise<never>(() => undefined);
/** More than the part within it has. */
const WHOLE = { timeout: 120_000 };
const fault = new Error('changed my mind');
const targets = storageTargets('a transaction within a transaction').filter(({ transactions }) => transactions);

describe.each(targets)('a transaction within a transaction on $name', ({ prepare }) => {
  const clock = new AheadClock();
  let storage: StorageManager;
  let drop: () => Promise<void>;
  let tenants = 0;
  const fresh = () => storage.tenant(`inner${++tenants}`);
  const ids = async (of: Pick<StorageManager, 'collection'>): Promise<string[]> =>
    (await of.collection(Notes).list()).items.map(({ id }) => id);
  beforeAll(async () => {
    const prepared = await prepare();
    drop = prepared.drop;
    storage = await openOn(clock, { databases: { main: prepared.url } });
    await storage.collection(Notes).count();
    // So that the tables of the stores are there: a first use runs the function again.
    await fresh().tasks.create({ title: 'warm' });
  });
  afterAll(async () => {
    await storage.close();
    await drop();
  });
  /** A test of what a database without savepoints refuses, its transaction going on. */
  const savepoints = (name: string, body: () => Promise<void>): void =>
    test(name, async () => {
      if (databaseOf(storage).backend.capabilities.savepoints) return body();
      const mine = fresh();
      let ran = false;
      await mine.transaction(async (tx) => {
        await add(tx, 'a');
        expect(await codeOf(tx.transaction(async () => void (ran = true)))).toBe('UNSUPPORTED');
        await add(tx, 'b');
      });
      expect([ran, await ids(mine)]).toEqual([false, ['a', 'b']]);
    });

  savepoints('is undone alone when it throws, and the rest is kept; its hooks run as it ends', async () => {
    const mine = fresh();
    const told: string[] = [];
    const hooks = (tx: Transaction, name: string): void => {
      tx.onCommit(() => void told.push(`${name} committed`));
      tx.onRollback(() => void told.push(`${name} undone`));
    };
    const result = await mine.transaction(async (tx) => {
      hooks(tx, 'outer');
      await add(tx, 'a');
      const undone = tx.transaction(async (inner) => {
        hooks(inner, 'first');
        await add(inner, 'b');
        await inner.transaction(async (innermost) => {
          hooks(innermost, 'innermost');
          await add(innermost, 'c');
        });
        throw fault;
      });
      await expect(undone).rejects.toBe(fault);
      told.push('goes on');
      const kept = await tx.transaction(async (inner) => {
        hooks(inner, 'second');
        await add(inner, 'd');
        return 'kept';
      });
      told.push('ends');
      return kept;
    });
    expect(result).toBe('kept');
    expect(told).toEqual([
      'innermost undone',
      'first undone',
      'goes on',
      'ends',
      'outer committed',
      'second committed',
    ]);
    expect(await ids(mine)).toEqual(['a', 'd']);
  });

  savepoints('is undone with the whole, with its compensations before those of the whole', async () => {
    const mine = fresh();
    const told: string[] = [];
    const work = mine.transaction(async (tx) => {
      tx.onRollback(() => void told.push('outer'));
      await tx.transaction(async (inner) => {
        inner.onCommit(() => void told.push('committed'));
        inner.onRollback(() => void told.push('inner'));
        await add(inner, 'a');
      });
      throw fault;
    });
    await expect(work).rejects.toBe(fault);
    expect(told).toEqual(['inner', 'outer']);
    expect(await ids(mine)).toEqual([]);
  });

  savepoints('may meet an error of the database, and the whole goes on', async () => {
    const mine = fresh();
    await mine.transaction(async (tx) => {
      await add(tx, 'a', 'k');
      expect(await codeOf(tx.transaction((inner) => add(inner, 'b', 'k')))).toBe('ALREADY_EXISTS');
      await tx.transaction((inner) => add(inner, 'b', 'l'));
    });
    expect(await ids(mine)).toEqual(['a', 'b']);
  });

  savepoints('works with stores and the outbox; of one that is undone nothing is told', async () => {
    const mine = fresh();
    const told: string[] = [];
    const stop = storage.on('task.created', ({ payload }) => told.push(JSON.stringify(payload)));
    const make = async (tx: Transaction, title: string): Promise<void> => {
      await tx.tasks.create({ title });
      await tx.kv.set('inner', title, 1);
      await tx.outbox.enqueue({ topic: 'inner', key: 'k', payload: title });
    };
    await mine.transaction(async (tx) => {
      await tx
        .transaction(async (inner) => {
          await make(inner, 'undone');
          throw fault;
        })
        .catch(() => undefined);
      await tx.transaction((inner) => make(inner, 'kept'));
      expect(told).toEqual([]);
    });
    stop();
    expect(told).toHaveLength(1);
    expect((await mine.tasks.list()).items.map(({ title }) => title)).toEqual(['kept']);
    expect(await Promise.all(['undone', 'kept'].map((key) => mine.kv.has('inner', key)))).toEqual([false, true]);
    expect(await storage.outbox.backlog()).toMatchObject({ waiting: 1 });
  });

  savepoints('refuses the handle around it while it runs, and its own after its end', async () => {
    const mine = fresh();
    const seen: unknown[] = [];
    await mine.transaction(async (tx) => {
      let kept: Transaction | undefined;
      await tx.transaction(async (inner) => {
        kept = inner;
        seen.push(await codeOf(add(tx, 'x')), await codeOf(tx.transaction(async () => undefined)));
        seen.push(await codeOf(mine.collection(Notes).count()));
        await inner.transaction(async () => {
          seen.push(await codeOf(add(inner, 'y')), await codeOf(add(tx, 'y')));
        });
        await add(inner, 'a');
      });
      seen.push(await codeOf(add(kept!, 'z')), await codeOf(kept!.transaction(async () => undefined)));
      expect(() => kept!.onCommit(() => undefined)).toThrow(/ended/);
      await add(tx, 'b');
    });
    expect(seen).toEqual([...Array<string>(5).fill('VALIDATION'), 'CLOSED', 'CLOSED']);
    expect(await ids(mine)).toEqual(['a', 'b']);
  });

  savepoints('refuses another database and another isolation, before anything is sent', async () => {
    const mine = fresh();
    await mine.transaction(async (tx) => {
      const refused = (options: object) => codeOf(tx.transaction(async () => undefined, options));
      for (const options of [{ on: 'other' }, { isolation: 'snapshot' }, { retries: -1 }, { timeout: 0 }])
        expect([options, await refused(options)]).toEqual([options, 'VALIDATION']);
      await tx.transaction((inner) => add(inner, 'a'), { on: 'main', isolation: 'serializable', retries: 1 });
    });
    expect(await ids(mine)).toEqual(['a']);
  });

  savepoints(
    'is begun and ended by itself: beside a call that is not awaited, or not awaited, it is refused',
    async () => {
      const mine = fresh();
      const answers: unknown[] = [];
      const tell = (answer: unknown): void => void answers.push(answer);
      const seen: unknown[] = [];
      await mine.transaction(async (tx) => {
        const first = add(tx, 'a');
        seen.push(await codeOf(tx.transaction(async () => undefined)));
        await first;
        const both = [1, 2].map((n) => codeOf(tx.transaction((inner) => add(inner, `b${n}`))));
        seen.push(...(await Promise.all(both)));
      });
      expect(seen).toEqual(['VALIDATION', 'done', 'VALIDATION']);
      const late = mine.transaction(async (tx) => {
        await add(tx, 'c');
        void codeOf(tx.transaction((inner) => add(inner, 'd').then(() => add(inner, 'e')))).then(tell);
      });
      await expect(late).rejects.toMatchObject({ code: 'VALIDATION', details: { operations: ['transaction'] } });
      const inside = mine.transaction(async (tx) => {
        const lost = tx.transaction(async (inner) => void codeOf(add(inner, 'f')).then(tell));
        seen.push(await codeOf(lost));
      });
      await inside;
      expect(seen.at(-1)).toBe('VALIDATION');
      expect(await ids(mine)).toEqual(['a', 'b1']);
      expect(answers).toEqual([]);
    },
  );

  savepoints('ends at its own deadline and by its own signal; what its function does later is refused', async () => {
    const mine = fresh();
    let wake = (): void => undefined;
    const woken = new Promise<void>((resolve) => (wake = resolve));
    const late: Promise<unknown>[] = [];
    await mine.transaction(async (tx) => {
      const slow = tx.transaction(
        async (inner) => {
          await add(inner, 'a');
          late.push(woken.then(() => codeOf(add(inner, 'late'))));
          clock.skip(60_000);
          await never;
        },
        { timeout: 60_000 },
      );
      expect(await codeOf(slow)).toBe('TIMEOUT');
      const controller = new AbortController();
      const stopped = tx.transaction(
        async (inner) => {
          await add(inner, 'b');
          controller.abort();
          await never;
        },
        { signal: controller.signal },
      );
      expect(await codeOf(stopped)).toBe('ABORTED');
      wake();
      expect(await Promise.all(late)).toEqual(['CLOSED']);
      await add(tx, 'c');
    }, WHOLE);
    expect(await ids(mine)).toEqual(['c']);
  });

  savepoints('goes with the whole when the deadline of that passes; each compensation runs once', async () => {
    const mine = fresh();
    const told: string[] = [];
    const work = mine.transaction(
      async (tx) => {
        tx.onRollback(() => void told.push('outer'));
        await tx.transaction(async (inner) => {
          inner.onRollback(() => void told.push('inner'));
          await add(inner, 'a');
          clock.skip(60_000);
          await never;
        });
      },
      { timeout: 60_000 },
    );
    expect(await codeOf(work)).toBe('TIMEOUT');
    expect(told).toEqual(['inner', 'outer']);
    expect(await ids(mine)).toEqual([]);
  });

  savepoints('that lost against another transaction ends the whole, which runs again', async () => {
    const mine = fresh();
    const told: string[] = [];
    let runs = 0;
    await mine.transaction(async (tx) => {
      runs++;
      await add(tx, 'a');
      await tx
        .transaction(async (inner) => {
          inner.onRollback(() => void told.push(`undone ${runs}`));
          await add(inner, 'b');
          if (runs < 3) throw serializationFailure('main');
        })
        .catch(() => undefined);
    });
    expect([runs, told]).toEqual([3, ['undone 1', 'undone 2']]);
    expect(await ids(mine)).toEqual(['a', 'b']);
  });

  savepoints("makes a collection's tables on its first use inside, and the whole runs again", async () => {
    const Fresh = defineCollection<{ n: number }>({ name: 'inner_fresh', id: 'given' });
    const mine = fresh();
    let runs = 0;
    await mine.transaction(async (tx) => {
      runs++;
      await tx.transaction((inner) => inner.collection(Fresh).insert({ n: 1 }, { id: 'a' })).catch(() => undefined);
    });
    expect([runs, await mine.collection(Fresh).count()]).toEqual([2, 1]);
  });
});
