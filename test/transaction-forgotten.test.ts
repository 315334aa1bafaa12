/** Calls of a transaction that its function does not await: refused, whatever they do before they come to the database. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { execFile } from 'node:child_process';
import { setTimeout as after } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { defineCollection, openStorage, type StorageError, type Transaction } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';
import { storageTargets } from './support/storage-targets.js';

const CHILD = fileURLToPath(new URL('./children/forgetful-transaction.js', import.meta.url));

interface Note {
  n: number;
}
const Notes = defineCollection<Note>({ name: 'forgotten_notes', id: 'given' });
const asynchronous: StandardSchemaV1<Note> = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => after(1).then(() => ({ value: value as Note })) },
};
const Slow = defineCollection({ name: 'forgotten_slow', id: 'given', schema: asynchronous });

/** By the operation that is told. */
const CALLS: readonly (readonly [string, string, (tx: Transaction) => Promise<unknown>])[] = [
  ['saveMany', 'saveMany', (tx) => tx.collection(Notes).saveMany([{ id: 'b', value: { n: 2 } }])],
  ['patch with orInsert', 'patch', (tx) => tx.collection(Slow).patch('b', { set: { n: 2 } }, { orInsert: { n: 2 } })],
  ['increment with orInsert', 'increment', (tx) => tx.collection(Slow).increment('b', 'n', 1, { orInsert: { n: 2 } })],
  ['save by an asynchronous schema', 'save', (tx) => tx.collection(Slow).save({ n: 2 }, { id: 'b' })],
  ['insert by an asynchronous schema', 'insert', (tx) => tx.collection(Slow).insert({ n: 2 }, { id: 'b' })],
  ['replace by an asynchronous schema', 'replace', (tx) => tx.collection(Slow).replace('there', { n: 2 })],
  ['load', 'load', (tx) => tx.collection(Notes).load([{ id: 'b', value: { n: 2 } }])],
];

interface WaitingSource<T> {
  readonly source: AsyncIterable<T>;
  /** It was asked for what comes after `first`. */
  readonly asked: Promise<void>;
  readonly goOn: () => void;
}

function waitingSource<T>(first: T): WaitingSource<T> {
  let ask = (): void => undefined;
  let goOn = (): void => undefined;
  const asked = new Promise<void>((resolve) => (ask = resolve));
  const going = new Promise<void>((resolve) => (goOn = resolve));
  const items = async function* (): AsyncGenerator<T> {
    yield first;
    ask();
    await going;
  };
  return { source: items(), asked, goOn: () => goOn() };
}

const targets = storageTargets('a call that is not awaited').filter(({ transactions }) => transactions);

describe.each(targets)('a call that is not awaited on $name', ({ vectors, prepare }) => {
  let storage: StorageManager;
  let url: string;
  let drop: () => Promise<void>;
  let tenants = 0;
  const fresh = () => storage.tenant(`f${++tenants}`);
  beforeAll(async () => {
    ({ url, drop } = await prepare());
    storage = await openStorage({ databases: { main: url } }, { environment: {} });
    await storage.collection(Notes).count();
    await storage.collection(Slow).count();
    if (vectors) await storage.vectors().createCollection({ name: 'docs', dimension: 2 });
  });
  afterAll(async () => {
    await storage.close();
    await drop();
  });

  /** What becomes of a transaction that begins `call`, and of the call. */
  const forgotten = async (
    mine: ReturnType<typeof fresh>,
    call: (tx: Transaction) => Promise<unknown>,
    asked?: Promise<void>,
  ): Promise<{ readonly error: StorageError | undefined; readonly hasAnswered: () => boolean }> => {
    let answered = false;
    const answer = (): void => void (answered = true);
    const error = await mine
      .transaction(async (tx) => {
        await tx.collection(Notes).insert({ n: 1 }, { id: 'a' });
        call(tx).then(answer, answer);
        await asked;
      })
      .then(
        () => undefined,
        (fault: StorageError) => fault,
      );
    return { error, hasAnswered: () => answered };
  };

  test.each(CALLS)('is refused: %s', async (_name, operation, call) => {
    const mine = fresh();
    await mine.collection(Slow).insert({ n: 1 }, { id: 'there' });
    const { error, hasAnswered } = await forgotten(mine, call);
    expect(error).toMatchObject({ code: 'VALIDATION', details: { operations: [operation] } });
    expect(await mine.collection(Notes).count()).toBe(0);
    expect((await mine.collection(Slow).list()).items.map(({ id, value }) => [id, value.n])).toEqual([['there', 1]]);
    expect(hasAnswered()).toBe(false);
  });

  test('is refused: a message of the outbox', async () => {
    const mine = fresh();
    await storage.prepare([], { stores: ['outbox'] });
    const { error, hasAnswered } = await forgotten(mine, (tx) =>
      tx.outbox.enqueue({ topic: 'mail', key: 'k', payload: 1 }),
    );
    expect(error).toMatchObject({ code: 'VALIDATION', details: { operations: ['enqueue'] } });
    expect((await storage.outbox.list()).items).toEqual([]);
    expect(hasAnswered()).toBe(false);
  });

  test('is refused: load that waits for its source, which is not waited for', async () => {
    const mine = fresh();
    const { source, asked, goOn } = waitingSource({ id: 'b', value: { n: 2 } });
    const { error, hasAnswered } = await forgotten(mine, (tx) => tx.collection(Notes).load(source), asked);
    expect(error).toMatchObject({ code: 'VALIDATION', details: { operations: ['load'] } });
    goOn();
    expect(await mine.collection(Notes).count()).toBe(0);
    expect(hasAnswered()).toBe(false);
  });

  test('another transaction within is refused while such a call is under way', async () => {
    const mine = fresh();
    await mine.transaction(async (tx) => {
      const { source, asked, goOn } = waitingSource({ id: 'b', value: { n: 2 } });
      const loading = tx.collection(Notes).load(source);
      await asked;
      const within = tx.transaction(async () => undefined).catch((error: StorageError) => error.code);
      expect(await within).toMatch(/^(VALIDATION|UNSUPPORTED)$/);
      goOn();
      await loading;
    });
    expect(await mine.collection(Notes).count()).toBe(1);
  });

  if (vectors)
    test.each(['upsert', 'load'] as const)('is refused: %s of vectors that waits for its source', async (operation) => {
      const mine = fresh();
      const { source, asked, goOn } = waitingSource({ id: 'b', vector: [1, 0] });
      const { error, hasAnswered } = await forgotten(mine, (tx) => tx.vectors()[operation]('docs', source), asked);
      expect(error).toMatchObject({ code: 'VALIDATION', details: { operations: [operation] } });
      goOn();
      expect([await mine.collection(Notes).count(), await mine.vectors().count('docs')]).toEqual([0, 0]);
      expect(hasAnswered()).toBe(false);
    });

  test('leaves the transaction its own error, and the process alive', async () => {
    const other = await prepare();
    try {
      const { stdout } = await promisify(execFile)(process.execPath, ['--no-warnings', CHILD, other.url]);
      expect(JSON.parse(stdout)).toEqual({
        'throws behind one': ['Error: mine', 0, 0],
        'throws behind two': ['Error: mine', 0, 0],
        'fails before those that it would await': ['NOT_FOUND', 0, 0],
        'fails before a call of several steps': ['NOT_FOUND', 0, 0],
        'returns before asynchronous functions of its own': ['VALIDATION', 0, 0],
        'throws behind a part of it': ['Error: mine', 0, 0],
      });
    } finally {
      await other.drop();
    }
  });
});
