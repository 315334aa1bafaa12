/** Transactions within each other, hooks that fail, and what a host's catch meets. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { defineCollection, isStorageError, openStorage, StorageError, type Transaction } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';
import { PROJECT } from './support/project.js';
import { run } from './support/run.js';

const Notes = defineCollection<{ n: number }>({ name: 'notes', id: 'given' });

let storage: StorageManager;
beforeEach(async () => {
  storage = await openStorage(
    { databases: { first: 'memory:', second: 'memory:' }, stores: { default: 'first' } },
    { environment: {} },
  );
});
afterEach(() => storage.close());

describe('a transaction of another database inside one', () => {
  test('does not hide the outer one: handles of both databases are refused inside', async () => {
    const [first, second] = [storage.collection(Notes), storage.collection(Notes, { on: 'second' })];
    await Promise.all([first.count(), second.count()]);
    const codes: unknown[] = [];
    const attempt = (work: Promise<unknown>) =>
      work.then(
        () => codes.push('done'),
        (error: StorageError) => codes.push(error.code),
      );
    await storage.transaction(async () => {
      await storage.transaction(
        async (inner) => {
          await attempt(first.count());
          await attempt(second.count());
          await attempt(storage.transaction(async () => undefined));
          await inner.collection(Notes).count();
        },
        { on: 'second' },
      );
      await attempt(first.count());
      await attempt(second.count());
    });
    expect(codes).toEqual(['VALIDATION', 'VALIDATION', 'VALIDATION', 'VALIDATION', 'done']);
    expect(await first.count()).toBe(0);
  });
});

describe.each(['signal', 'timeout'] as const)('a transaction that its %s ends while its function waits', (bound) => {
  test('runs the compensations that it has, and refuses those that come later', async () => {
    const cut = new AbortController();
    const seen: string[] = [];
    let goOn = (): void => undefined;
    const waits = new Promise<void>((resolve) => (goOn = resolve));
    let returned: Promise<void> | undefined;
    const work = async (tx: Transaction): Promise<void> => {
      await tx.collection(Notes).save({ n: 1 }, { id: 'a' });
      tx.onRollback(() => void seen.push('undone'));
      if (bound === 'signal') cut.abort();
      await waits;
      for (const name of ['onRollback', 'onCommit'] as const)
        try {
          tx[name](() => void seen.push('late'));
        } catch (error) {
          seen.push((error as StorageError).code);
        }
      await storage
        .collection(Notes)
        .save({ n: 2 }, { id: 'b' })
        .catch((error: StorageError) => seen.push(error.code));
    };
    await storage.collection(Notes).count();
    const options = bound === 'signal' ? { signal: cut.signal } : { timeout: 100 };
    const done = storage.transaction((tx) => (returned = work(tx)), options);
    await expect(done).rejects.toMatchObject({ code: bound === 'signal' ? 'ABORTED' : 'TIMEOUT' });
    expect(seen).toEqual(['undone']);
    goOn();
    await returned;
    // The outer handle is refused inside for as long as the function runs.
    expect(seen).toEqual(['undone', 'CLOSED', 'CLOSED', 'VALIDATION']);
    expect(await storage.collection(Notes).count()).toBe(0);
  });
});

describe('hooks of onCommit that fail', () => {
  const withFailingHook = (ran: string[]) =>
    storage.transaction(async (tx) => {
      await tx.collection(Notes).save({ n: 1 }, { id: 'a' });
      tx.onCommit(() => {
        throw new Error('mail server down');
      });
      tx.onCommit(() => void ran.push('second'));
      return 'result';
    });

  test('do not make a committed transaction look as if it were not: its result comes, the manager tells the error', async () => {
    const told: StorageError[] = [];
    const ran: string[] = [];
    const stop = storage.on('error', (error) => told.push(error));
    expect(await withFailingHook(ran)).toBe('result');
    expect(ran).toEqual(['second']);
    expect(told).toEqual([expect.objectContaining({ code: 'INTERNAL', details: { committed: true, hookErrors: 1 } })]);
    expect((told[0]!.cause as AggregateError).errors).toEqual([new Error('mail server down')]);
    expect((await storage.collection(Notes).get('a')).value).toEqual({ n: 1 });
    stop();
  });

  test('are a warning of the process when nobody listens, or when the listener throws', async () => {
    const code = `
      import { openStorage } from './build/src/index.js';
      const storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
      const fail = () => storage.transaction(async (tx) => {
        tx.onCommit(() => { throw new Error('hunter2'); });
        return 'result';
      });
      console.log(await fail());
      storage.on('error', () => { throw new Error('hunter2'); });
      storage.on('error', ({ code }) => console.log(code));
      console.log(await fail());
      await storage.close();
    `;
    const { code: exit, output } = await run(process.execPath, ['--input-type=module', '-e', code], PROJECT, 60_000);
    expect([exit, output.match(/^(result|INTERNAL)$/gm)]).toEqual([0, ['result', 'INTERNAL', 'result']]);
    expect(output).toMatch(/StorageWarning: A transaction is committed, but 1 of its onCommit hooks failed/);
    expect(output).toMatch(/StorageWarning: A listener of the event error threw/);
    expect(output).not.toContain('hunter2');
  });

  test('an async listener that rejects is a warning too, and does not end the process', async () => {
    const code = `
      import { openStorage } from './build/src/index.js';
      const storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
      storage.on('error', async () => { throw new Error('hunter2'); });
      storage.on('state', async () => { throw new Error('hunter2'); });
      storage.on('agent.state_saved', async () => { throw new Error('hunter2'); });
      await storage.agents.saveState('a', 'k', {});
      await storage.close();
      console.log('closed');
    `;
    const { code: exit, output } = await run(process.execPath, ['--input-type=module', '-e', code], PROJECT, 60_000);
    expect([exit, output.match(/^closed$/gm)]).toEqual([0, ['closed']]);
    expect(output).toMatch(/StorageWarning: A listener of the event state threw \(Error\)/);
    expect(output).toMatch(/StorageWarning: A listener of the event error threw \(Error\)/);
    expect(output).not.toContain('hunter2');
  });
});

test("a host's catch meets an error of a storage when tables are missing, and cannot lose the run", async () => {
  await using fresh = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  const met: unknown[] = [];
  await fresh.transaction(async (tx) => {
    try {
      await tx.collection(Notes).save({ n: 1 }, { id: 'a' });
    } catch (error) {
      met.push(error);
    }
  });
  expect(met).toHaveLength(1);
  expect(isStorageError(met[0], 'UNAVAILABLE')).toBe(true);
  expect((met[0] as StorageError).message).toMatch(/tables .* run again/);
  expect((await fresh.collection(Notes).get('a')).value).toEqual({ n: 1 });
});

test('compensations run where the function itself met an unknown outcome elsewhere: its own is known', async () => {
  const elsewhere = new StorageError('OUTCOME_UNKNOWN', 'of another database');
  const ran: string[] = [];
  const work = storage.transaction(async (tx) => {
    tx.onRollback(() => void ran.push('undone'));
    throw elsewhere;
  });
  await expect(work).rejects.toBe(elsewhere);
  expect(ran).toEqual(['undone']);
});
