/** Claims in MongoDB that meet: each is told what it took, whatever others do to it meanwhile. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { ClaimRequest, RecordBackend } from '../src/backends/backend.js';
import { claim } from '../src/backends/mongo/claim.js';
import { defineCollection } from '../src/collection/definition.js';
import { parseSort } from '../src/filter/cursor.js';
import { normalize } from '../src/filter/normalize.js';
import { parseFilter } from '../src/filter/syntax.js';
import type { MongoUse } from '../src/pools/mongo/operation-use.js';
import type { MongoPool } from '../src/pools/mongo/pool.js';
import { backendOn, context, describeServer, Fixture, type ServerName, write } from './support/mongo/fixture.js';
import { Proxy } from './support/mongo/proxy.js';

const { schema, domain } = defineCollection<Record<string, unknown>>({
  name: 'claims',
  fields: { state: 'string', n: 'number', key: 'string' },
  unique: [{ name: 'byKey', fields: ['key'] }],
  id: 'given',
});
const SCOPE = { tenant: 't' };

function claiming(state: string, changes: object, limit: number): ClaimRequest {
  const filter = normalize(parseFilter({ state }, domain));
  return { collection: schema, filter, changes: { set: { ...changes } }, sort: parseSort({ n: 'asc' }, domain), limit };
}

/** The same use, with something that happens before and after the first bulk write. */
function around(use: MongoUse, before: () => Promise<unknown>, after: () => Promise<unknown>): MongoUse {
  let met = false;
  const collection = (name: string): object =>
    new globalThis.Proxy(use.collection(name), {
      get(target, key) {
        const member: unknown = Reflect.get(target, key);
        if (typeof member !== 'function') return member;
        if (key !== 'bulkWrite' || met) return member.bind(target) as unknown;
        met = true;
        return async (...given: unknown[]): Promise<unknown> => {
          await before();
          const result: unknown = await Reflect.apply(member, target, given);
          await after();
          return result;
        };
      },
    });
  return Object.create(use, { collection: { value: collection } }) as MongoUse;
}

for (const server of ['mongo', 'ferretdb'] as ServerName[])
  describeServer(server, 'claims that meet', () => {
    let fixture: Fixture;
    let pool: MongoPool;
    let backend: RecordBackend;
    beforeAll(async () => {
      fixture = await Fixture.open(server);
      pool = await fixture.pool();
      backend = backendOn(pool);
      await backend.ensure([schema], context());
    });
    afterAll(() => fixture.close());

    test('what a claim took before a constraint refused the next is told', async () => {
      const scope = { tenant: 'unique' };
      const due = (n: number) => ({ kind: 'put', value: { state: 'due', n } }) as const;
      for (const [n, id] of ['a', 'b', 'c'].entries())
        await backend.write(scope, [write(schema, id, due(n))], context());
      const request = claiming('due', { state: 'taken', key: 'k' }, 3);
      const taken = await backend.claim!(scope, request, context());
      expect(taken.map(({ id, version, value }) => [id, version, value['key']])).toEqual([['a', 2, 'k']]);
      const broken = { code: 'ALREADY_EXISTS', details: { constraint: 'byKey' } };
      await expect(backend.claim!(scope, request, context())).rejects.toMatchObject(broken);
      const left = await backend.count(scope, { collection: schema, filter: request.filter }, context());
      expect(left).toBe(2);
    });

    test('what a claim took is told, though the answer to its second portion is lost', async () => {
      const scope = { tenant: 'lost' };
      const due = (n: number) => ({ kind: 'put', value: { state: 'due', n } }) as const;
      for (const [n, id] of ['a', 'b', 'c'].entries())
        await backend.write(scope, [write(schema, id, due(n))], context());
      const proxy = await Proxy.open(fixture.url);
      const far = await fixture.pool({}, proxy.through(fixture.url));
      // With a gone to another it looks for one more.
      const lose = () => backend.write(scope, [write(schema, 'a', { kind: 'delete' })], context());
      const since = (): Promise<void> => Promise.resolve(proxy.loseAnswers('update', 9));
      const own = context();
      const taken = await far.write('claim', own, (use) =>
        claim(around(use, lose, since), scope, claiming('due', { state: 'taken', by: 'me' }, 2), own.now),
      );
      expect(taken.map(({ id, version }) => [id, version])).toEqual([
        ['b', 2],
        ['c', 2],
      ]);
      await far.close(0);
      await proxy.close();
    });

    test.each([
      ['another claim', () => backend.claim!(SCOPE, claiming('taken', { state: 'done', by: 'other' }, 9), context())],
      [
        'a patch',
        () =>
          backend.write(
            SCOPE,
            [{ collection: schema, id: 'b', kind: 'patch', changes: { set: { by: 'other' } } }],
            context(),
          ),
      ],
      ['a put', () => backend.write(SCOPE, [write(schema, 'b', { kind: 'put', value: { by: 'other' } })], context())],
    ])(
      'a claim that lost a record to one writer is told of another that %s has changed since',
      async (_what, since) => {
        const due = (n: number) => ({ kind: 'put', value: { state: 'due', n } }) as const;
        for (const [n, id] of ['a', 'b'].entries()) await backend.write(SCOPE, [write(schema, id, due(n))], context());
        const lose = () =>
          backend.write(SCOPE, [write(schema, 'a', { kind: 'put', value: { state: 'lost' } })], context());
        const own = context();
        const taken = await pool.write('claim', own, (use) =>
          claim(around(use, lose, since), SCOPE, claiming('due', { state: 'taken', by: 'me' }, 2), own.now),
        );
        expect(taken.map(({ id, value }) => [id, value['by']])).toEqual([['b', 'me']]);
        const [a, b] = await backend.read(
          SCOPE,
          [
            { collection: schema, id: 'a' },
            { collection: schema, id: 'b' },
          ],
          own,
        );
        expect([a?.value['state'], b?.value['by']]).toEqual(['lost', 'other']);
      },
    );
  });
