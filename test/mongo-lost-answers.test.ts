/** Writes in MongoDB whose answers are lost: what may have been made is never said to be worth another try. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { RecordBackend, Write } from '../src/backends/backend.js';
import { defineCollection } from '../src/collection/definition.js';
import { parseSort } from '../src/filter/cursor.js';
import { ALL } from '../src/filter/syntax.js';
import type { MongoPool } from '../src/pools/mongo/pool.js';
import {
  backendOn,
  context,
  describeServer,
  failure,
  Fixture,
  type ServerName,
  write,
} from './support/mongo/fixture.js';
import { Proxy } from './support/mongo/proxy.js';

const { schema, domain } = defineCollection<{ n: number }>({ name: 'counters', fields: { n: 'number' }, id: 'given' });
const SCOPE = { tenant: 't' };
const INCREMENT = { increment: { n: 1 } };
const UNKNOWN = { code: 'OUTCOME_UNKNOWN', retryable: false };

const increment = write(schema, 'a', { kind: 'patch', changes: INCREMENT });
const KINDS: readonly [kind: string, command: string, write: Write][] = [
  ['patch', 'findAndModify', increment],
  ['replace', 'findAndModify', write(schema, 'a', { kind: 'replace', value: { n: 1 } })],
  ['insert', 'insert', write(schema, 'b', { kind: 'insert', value: { n: 1 } })],
  ['delete', 'findAndModify', write(schema, 'a', { kind: 'delete' })],
];

const ALL_AT_ONCE = { collection: schema, filter: ALL, changes: INCREMENT, sort: parseSort({}, domain), limit: 1 };

/** A server that is not found again is given up soon, and that it is frozen is seen soon. */
const SHORT = { pool: { connectTimeout: 2_000 } };
const WATCHFUL = '&heartbeatFrequencyMS=500';

for (const server of ['mongo', 'ferretdb'] as ServerName[])
  describeServer(server, 'answers that are lost', () => {
    let fixture: Fixture;
    let proxy: Proxy;
    let pool: MongoPool;
    let backend: RecordBackend;
    let direct: RecordBackend;
    beforeEach(async () => {
      fixture = await Fixture.open(server);
      direct = backendOn(await fixture.pool());
      await direct.ensure([schema], context());
      await direct.write(SCOPE, [write(schema, 'a', { kind: 'insert', value: { n: 0 } })], context());
      proxy = await Proxy.open(fixture.url);
      pool = await fixture.pool(SHORT, proxy.through(fixture.url));
      backend = backendOn(pool);
    });
    afterEach(async () => {
      await fixture.close();
      await proxy.close();
    });

    const valueOf = async (id: string): Promise<unknown> =>
      (await direct.read(SCOPE, [{ collection: schema, id }], context()))[0]?.value['n'];

    test.each(KINDS)('a %s that was sent to a server which is gone since', async (kind, command, given) => {
      proxy.loseServerAt(command);
      const { error } = await failure(backend.write(SCOPE, [given], context()));
      expect(error).toMatchObject(UNKNOWN);
      // It was made.
      expect(await valueOf(given.id)).toBe(kind === 'delete' ? undefined : 1);
    });

    test('a write that was never sent can be tried again', async () => {
      proxy.goAway();
      // The client has seen that its connections are gone.
      while (pool.figures().size > 0) await new Promise(setImmediate);
      const { error } = await failure(backend.write(SCOPE, [increment], context()));
      expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true });
      proxy.comeBack();
      expect(await valueOf('a')).toBe(0);
      // What was lost before is of no account for what is never sent.
      proxy.loseServerAt('findAndModify');
      expect((await failure(backend.write(SCOPE, [increment], context()))).error).toMatchObject(UNKNOWN);
      expect((await failure(backend.write(SCOPE, [increment], context()))).error).toMatchObject({ retryable: true });
      expect(await valueOf('a')).toBe(1);
    });

    test.each([
      ['a write', 'findAndModify', (on: RecordBackend) => on.write(SCOPE, [increment], context())],
      ['an update of many', 'update', (on: RecordBackend) => on.updateMany!(SCOPE, ALL_AT_ONCE, context())],
      ['a deletion of many', 'delete', (on: RecordBackend) => on.deleteMany!(SCOPE, ALL_AT_ONCE, context())],
    ])('a server that freezes under %s, and is given up', async (_what, command, run) => {
      const watchful = backendOn(await fixture.pool(SHORT, `${proxy.through(fixture.url)}${WATCHFUL}`));
      proxy.freezeAt(command);
      const { error } = await failure(run(watchful));
      proxy.thaw();
      expect(error).toMatchObject(UNKNOWN);
    });

    test('an update of many and a deletion of many', async () => {
      proxy.loseAnswers('update', 9);
      expect((await failure(backend.updateMany!(SCOPE, ALL_AT_ONCE, context()))).error).toMatchObject(UNKNOWN);
      expect(await valueOf('a')).toBe(1);
      proxy.loseAnswers('delete', 9);
      expect((await failure(backend.deleteMany!(SCOPE, ALL_AT_ONCE, context()))).error).toMatchObject(UNKNOWN);
      expect(await valueOf('a')).toBeUndefined();
    });

    test('a connection that is lost under a bulk write', async () => {
      proxy.loseServerAt('update');
      expect((await failure(backend.claim!(SCOPE, ALL_AT_ONCE, context()))).error).toMatchObject(UNKNOWN);
      expect(await valueOf('a')).toBe(1);
    });

    if (server === 'mongo')
      test.each([
        ['cannot serve it', { ok: 0, code: 10_107, codeName: 'NotWritablePrimary', errmsg: '' }],
        ['has no time for it', { ok: 0, code: 262, codeName: 'ExceededTimeLimit', errmsg: '' }],
      ])('a server that is asked again and %s', async (_why, answer) => {
        proxy.loseAnswers('findAndModify');
        proxy.answerWith('findAndModify', answer);
        expect((await failure(backend.write(SCOPE, [increment], context()))).error).toMatchObject(UNKNOWN);
        expect(await valueOf('a')).toBe(1);
      });

    const INTERRUPTED = { ok: 0, code: 11_602, codeName: 'InterruptedDueToReplStateChange', errmsg: '' };

    test.each([
      ['', INTERRUPTED],
      [
        ', and tells it of the statement',
        { ok: 1, n: 0, nModified: 0, writeErrors: [{ index: 0, code: 189, errmsg: '' }] },
      ],
    ])('a server that stops an update of many half-way%s', async (_how, answer) => {
      proxy.answerWith('update', answer, { reaches: true });
      expect((await failure(backend.updateMany!(SCOPE, ALL_AT_ONCE, context()))).error).toMatchObject(UNKNOWN);
      expect(await valueOf('a')).toBe(1);
    });

    test.each([
      ['an update of many', 'update', { ok: 0, code: 10_107, codeName: 'NotWritablePrimary', errmsg: '' }],
      ['the search before an update of many', 'find', INTERRUPTED],
    ])('a server that refuses %s has made nothing of it', async (_what, command, answer) => {
      proxy.answerWith(command, answer, { times: 2 });
      const { error } = await failure(backend.updateMany!(SCOPE, ALL_AT_ONCE, context()));
      expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true });
      expect(await valueOf('a')).toBe(0);
    });

    if (server === 'mongo')
      test('an update of many that is stopped in a transaction is undone with it', async () => {
        proxy.answerWith('update', INTERRUPTED, { reaches: true });
        const undone = pool.transaction({ context: context() }, (session) =>
          backend.updateMany!(SCOPE, ALL_AT_ONCE, context({ session })),
        );
        expect((await failure(undone)).error).toMatchObject({ code: 'UNAVAILABLE', retryable: true });
        expect(await valueOf('a')).toBe(0);
      });

    if (server === 'mongo')
      test('a write that no majority has confirmed', async () => {
        const writeConcernError = { code: 91, codeName: 'ShutdownInProgress', errmsg: '' };
        const times = { reaches: true, times: 9 };
        proxy.answerWith('findAndModify', { ok: 1, value: null, writeConcernError }, times);
        expect((await failure(backend.write(SCOPE, [increment], context()))).error).toMatchObject(UNKNOWN);
        expect(await valueOf('a')).toBe(1);
        proxy.answerWith('update', { ok: 1, n: 1, nModified: 1, writeConcernError }, times);
        expect((await failure(backend.claim!(SCOPE, ALL_AT_ONCE, context()))).error).toMatchObject(UNKNOWN);
        expect(await valueOf('a')).toBe(2);
      });
  });
