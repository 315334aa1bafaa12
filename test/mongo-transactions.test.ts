/** Transactions over MongoDB: commits whose answers are lost, conflicts, and sessions. */
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { systemClock as clock } from '../src/clock.js';
import type { Session } from '../src/component.js';
import { defineCollection } from '../src/collection/definition.js';
import { isSerializationFailure, isStorageError } from '../src/errors.js';
import type { RecordBackend } from '../src/backends/backend.js';
import type { MongoPool } from '../src/pools/mongo/pool.js';
import {
  backendOn,
  clientOf,
  context,
  describeServer,
  failure,
  Fixture,
  gate,
  write,
} from './support/mongo/fixture.js';
import { Proxy } from './support/mongo/proxy.js';

const { schema } = defineCollection<{ n: number; key?: string }>({
  name: 'accounts',
  fields: { n: 'number', key: 'string' },
  unique: [{ name: 'byKey', fields: ['key'] }],
  id: 'given',
});

describeServer('mongo', 'transactions', () => {
  let fixture: Fixture;
  let proxy: Proxy;
  let pool: MongoPool;
  let backend: RecordBackend;
  let tenants = 0;
  let scope = { tenant: '' };
  beforeAll(async () => {
    fixture = await Fixture.open('mongo');
    proxy = await Proxy.open(fixture.url);
    pool = await fixture.pool({}, proxy.through(fixture.url));
    backend = backendOn(pool);
    await backend.ensure([schema], context());
  });
  beforeEach(() => {
    scope = { tenant: `t${++tenants}` };
  });
  afterAll(async () => {
    await fixture.close();
    await proxy.close();
  });

  const within = <R>(work: (session: Session) => Promise<R>, timeout = 60_000): Promise<R> =>
    pool.transaction({ context: context({ timeout }) }, work);
  const insert = (id: string, n: number, session?: Session, key?: string) =>
    backend.write(
      scope,
      [write(schema, id, { kind: 'insert', value: key === undefined ? { n } : { n, key } })],
      context({ session }),
    );
  const replace = (id: string, n: number, session?: Session) =>
    backend.write(scope, [write(schema, id, { kind: 'replace', value: { n } })], context({ session }));
  const valueOf = async (id: string, session?: Session): Promise<number | undefined> =>
    (await backend.read(scope, [{ collection: schema, id }], context({ session })))[0]?.value['n'] as
      number | undefined;

  test('a commit whose answer is lost is asked for again, and reported as what it was', async () => {
    proxy.loseAnswers('commitTransaction');
    await within((session) => insert('a', 1, session));
    expect(await valueOf('a')).toBe(1);
  });

  test('a commit that is never answered is of unknown outcome, at the deadline', async () => {
    const { error, took } = await failure(
      within(async (session) => {
        await insert('a', 1, session);
        proxy.loseAnswers('commitTransaction', 1_000);
      }, 4_000),
    );
    proxy.loseAnswers('none', 0);
    expect(isStorageError(error, 'OUTCOME_UNKNOWN')).toBe(true);
    expect((error as { retryable: boolean }).retryable).toBe(false);
    expect(took).toBeLessThan(20_000);
    expect(await valueOf('a')).toBe(1);
  });

  test('a server that freezes before the commit leaves the outcome unknown in time', async () => {
    const { error, took } = await failure(
      within(async (session) => {
        await insert('a', 1, session);
        proxy.freeze();
      }, 4_000),
    );
    proxy.thaw();
    expect(isStorageError(error, 'OUTCOME_UNKNOWN')).toBe(true);
    expect(took).toBeLessThan(20_000);
  });

  test('a commit whose connection broke while it was written to is asked for again', async () => {
    const client = clientOf(pool);
    const startSession = client.startSession.bind(client);
    let tries = 0;
    // What the client throws then is an error of the system, not of its own.
    client.startSession = (options) => {
      const session = startSession(options);
      const commitTransaction = session.commitTransaction.bind(session);
      session.commitTransaction = async () => {
        await commitTransaction();
        if (++tries === 1) throw Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
      };
      return session;
    };
    await within((session) => insert('a', 1, session)).finally(() => (client.startSession = startSession));
    expect([tries, await valueOf('a')]).toEqual([2, 1]);
  });

  test('a commit that is refused after one that got no answer may have been made', async () => {
    const { error } = await failure(
      within(async (session) => {
        await insert('a', 1, session);
        proxy.loseAnswers('commitTransaction');
        proxy.answerWith('commitTransaction', { ok: 0, code: 13, codeName: 'Unauthorized', errmsg: '' });
      }),
    );
    expect(error).toMatchObject({ code: 'OUTCOME_UNKNOWN', retryable: false });
    expect(await valueOf('a')).toBe(1);
  });

  test('a commit that is refused at once was not made', async () => {
    const { error } = await failure(
      within(async (session) => {
        await insert('a', 1, session);
        proxy.answerWith('commitTransaction', { ok: 0, code: 13, codeName: 'Unauthorized', errmsg: '' });
      }),
    );
    expect(isStorageError(error, 'UNAUTHORIZED')).toBe(true);
    expect(await valueOf('a')).toBeUndefined();
  });

  test('the signal ends the wait for a commit, whose outcome is unknown', async () => {
    const controller = new AbortController();
    const committing = failure(
      pool.transaction({ context: context({ signal: controller.signal }) }, async (session) => {
        await insert('a', 1, session);
        proxy.freeze();
        setTimeout(() => controller.abort(), 100);
      }),
    );
    const { error, took } = await committing;
    proxy.thaw();
    expect(error).toMatchObject({ code: 'OUTCOME_UNKNOWN', retryable: false });
    expect(took).toBeLessThan(20_000);
  });

  test('the signal ends the pause between two tries of a commit', async () => {
    const controller = new AbortController();
    const committing = failure(
      pool.transaction({ context: context({ signal: controller.signal }) }, async (session) => {
        await insert('a', 1, session);
        proxy.loseAnswers('commitTransaction', 1_000);
        setTimeout(() => controller.abort(), 300);
      }),
    );
    const { error, took } = await committing;
    proxy.loseAnswers('none', 0);
    expect(isStorageError(error, 'OUTCOME_UNKNOWN')).toBe(true);
    expect(took).toBeLessThan(20_000);
  });

  test('a connection lost inside the transaction undoes it, and can be tried again', async () => {
    const { error } = await failure(
      within(async (session) => {
        await insert('a', 1, session);
        proxy.cut();
        await insert('b', 1, session);
      }),
    );
    expect(isStorageError(error, 'UNAVAILABLE')).toBe(true);
    expect(await valueOf('a')).toBeUndefined();
  });

  test('two that write one record: one loses with a serialization failure', async () => {
    await insert('a', 0);
    const { passed, open } = gate();
    const { passed: isWritten, open: hasWritten } = gate();
    const first = within(async (session) => {
      await replace('a', 1, session);
      hasWritten();
      await passed;
    });
    await isWritten;
    const second = await failure(
      within(async (session) => {
        await valueOf('a', session);
        await replace('a', 2, session);
      }),
    );
    open();
    await first;
    expect(isSerializationFailure(second.error)).toBe(true);
    expect(await valueOf('a')).toBe(1);
  });

  test('an insert that another transaction made first is a conflict, and not a record that exists', async () => {
    const { error } = await failure(
      within(async (session) => {
        // Its snapshot begins with its first operation, and has no record a.
        expect(await valueOf('a', session)).toBeUndefined();
        await insert('a', 1);
        await insert('a', 2, session);
      }),
    );
    expect(isSerializationFailure(error)).toBe(true);
    expect(await valueOf('a')).toBe(1);
  });

  test('its reads are of one moment', async () => {
    await insert('a', 1);
    await within(async (session) => {
      expect(await valueOf('a', session)).toBe(1);
      await replace('a', 2);
      expect(await valueOf('a', session)).toBe(1);
    });
    expect(await valueOf('a')).toBe(2);
  });

  test('operations at once run one after another, and those that nobody awaits are part of it', async () => {
    await within(async (session) => {
      await Promise.all(Array.from({ length: 8 }, (_, i) => insert(`r${i}`, i, session)));
      void insert('last', 9, session);
    });
    expect(await backend.count(scope, { collection: schema, filter: { op: 'and', nodes: [] } }, context())).toBe(9);
  });

  test('after an error every operation fails with it, and so does the commit', async () => {
    await insert('a', 1, undefined, 'k');
    const seen: unknown[] = [];
    const { error } = await failure(
      within(async (session) => {
        await insert('b', 1, session, 'k').catch((reason: unknown) => seen.push(reason));
        await insert('c', 1, session).catch((reason: unknown) => seen.push(reason));
      }),
    );
    expect(error).toMatchObject({ code: 'ALREADY_EXISTS', details: { constraint: 'byKey' } });
    expect(seen).toEqual([error, error]);
    expect(await valueOf('c')).toBeUndefined();
  });

  test('the deadline and the signal end it, and nothing stays', async () => {
    const never = new Promise<void>(() => undefined);
    const late = await failure(within((session) => insert('a', 1, session).then(() => never), 200));
    expect(isStorageError(late.error, 'TIMEOUT')).toBe(true);
    const controller = new AbortController();
    const stopped = failure(
      pool.transaction({ context: context({ signal: controller.signal }) }, async (session) => {
        await insert('b', 1, session);
        controller.abort();
        await never;
      }),
    );
    expect(isStorageError((await stopped).error, 'ABORTED')).toBe(true);
    expect([await valueOf('a'), await valueOf('b')]).toEqual([undefined, undefined]);
  });

  test('a session of another pool and one that has ended are refused', async () => {
    const other = await fixture.pool();
    await other.transaction({ context: context() }, async (session) => {
      await expect(valueOf('a', session)).rejects.toMatchObject({ code: 'VALIDATION' });
    });
    let kept: Session | undefined;
    await within(async (session) => void (kept = session));
    await expect(valueOf('a', kept)).rejects.toMatchObject({ code: 'CLOSED' });
  });

  test('a close cuts a transaction at its deadline, and lets one end before it', async () => {
    const own = await fixture.pool();
    const records = backendOn(own);
    const { passed, open } = gate();
    const ending = own.transaction({ context: context() }, async (session) => {
      await passed;
      return records.write(scope, [write(schema, 'z', { kind: 'insert', value: { n: 1 } })], context({ session }));
    });
    const closing = own.close(clock.monotonic() + 30_000);
    open();
    await ending;
    await closing;
    expect(await valueOf('z')).toBe(1);
    await own.open({ clock, signal: new AbortController().signal });
    const cut = failure(own.transaction({ context: context() }, () => new Promise(() => undefined)));
    await own.close(clock.monotonic() + 50);
    expect(isStorageError((await cut).error, 'CLOSED')).toBe(true);
  });

  test('batches that meet on hot records all succeed, and none is lost', async () => {
    const keys = ['x', 'y'];
    await Promise.all(
      Array.from({ length: 12 }, () =>
        backend.write(
          scope,
          keys.map((id) => write(schema, id, { kind: 'patch', changes: { increment: { n: 1 } }, orInsert: { n: 1 } })),
          context(),
        ),
      ),
    );
    expect(await Promise.all(keys.map((id) => valueOf(id)))).toEqual([12, 12]);
  });

  test('a write whose answer is lost is made once', async () => {
    proxy.loseAnswers('insert');
    const [result] = await insert('a', 1);
    expect(result).toMatchObject({ status: 'written', version: 1 });
    proxy.loseAnswers('findAndModify');
    const [patched] = await backend.write(
      scope,
      [write(schema, 'a', { kind: 'patch', changes: { increment: { n: 1 } } })],
      context(),
    );
    expect(patched).toMatchObject({ status: 'patched', record: { version: 2, value: { n: 2 } } });
  });
});
