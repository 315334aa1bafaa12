import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { OperationContext } from '../src/component.js';
import type { RecordBackend, RecordSchema, Write } from '../src/backends/backend.js';
import { orderBy } from '../src/collection/conditions.js';
import { ALL } from '../src/filter/syntax.js';
import type { SqlPool } from '../src/pools/pool.js';
import { A, at, contextAt, ctx, filterOf, insertUser, openBackend, users, type Opened } from './support/sql/fixture.js';

let opened: Opened;
let backend: RecordBackend;
let pool: SqlPool;

beforeAll(async () => {
  opened = await openBackend();
  ({ backend, pool } = opened);
});

afterAll(() => opened.close());

describe('unique constraints', () => {
  test('name the constraint, leave out what lacks a field, and end a session', async () => {
    await opened.clear();
    const value = { email: 'e', shop: 1 };
    await backend.write(A, [insertUser('1', value), insertUser('2', { email: 'e' })], ctx);
    await backend.write({ tenant: 'b' }, [insertUser('1', value)], ctx);
    const refused = { code: 'ALREADY_EXISTS', details: { constraint: 'email', collection: 'users' } };
    await expect(backend.write(A, [insertUser('3', value)], ctx)).rejects.toMatchObject(refused);
    await expect(backend.write(A, [insertUser('3', value), insertUser('4', {})], ctx)).rejects.toMatchObject(refused);
    const patch: Write = { kind: 'patch', collection: users, id: '2', changes: { set: { shop: 1 } } };
    await expect(backend.write(A, [patch], ctx)).rejects.toMatchObject(refused);
    const swallowed = pool.transaction({ context: ctx }, async (session) => {
      const inside = { ...ctx, session };
      await backend.write(A, [insertUser('5', {})], inside);
      await expect(backend.write(A, [patch], inside)).rejects.toMatchObject(refused);
      await expect(backend.write(A, [insertUser('6', {})], inside)).rejects.toMatchObject(refused);
    });
    await expect(swallowed).rejects.toMatchObject(refused);
    expect(await backend.count(A, { collection: users, filter: ALL }, ctx)).toBe(2);
  });

  test('are freed by expiry before any sweep, alone and in a session', async () => {
    await opened.clear();
    const value = { email: 'e', shop: 1 };
    await backend.write(A, [insertUser('1', value, { expiresAt: at(10) })], ctx);
    await expect(backend.write(A, [insertUser('2', value)], contextAt(9))).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
    });
    const [result] = await backend.write(A, [insertUser('2', value, { expiresAt: at(20) })], contextAt(10));
    expect(result).toMatchObject({ status: 'written', version: 1 });
    await pool.transaction({ context: ctx }, async (session) => {
      const inside = { ...contextAt(20), session };
      const [own] = await backend.write(A, [insertUser('3', value)], inside);
      expect(own).toMatchObject({ status: 'written', version: 1 });
    });
  });

  describe.each([
    ['of another record', 'holder'],
    ['of the same record', '1'],
  ])('what has expired frees its keys in the statement that wants them, %s', (_whose, holder) => {
    const value = { email: 'e', shop: 1 };
    const key = { collection: users, id: '1' };
    const other = insertUser('2', { email: 'other' });
    const live: Write = insertUser('1', { email: 'f', shop: 1 });
    const changes = { set: { email: 'e' } };
    const request = {
      collection: users,
      filter: filterOf({ email: 'f' }),
      changes,
      limit: 1,
      sort: orderBy('shop', 'number'),
    };
    const kinds: readonly [name: string, hasLive: boolean, write: (context: OperationContext) => Promise<unknown>][] = [
      ['insert', false, (own) => backend.write(A, [insertUser('1', value)], own)],
      ['put', false, (own) => backend.write(A, [{ ...key, kind: 'put', value }], own)],
      [
        'patch that inserts',
        false,
        (own) => backend.write(A, [{ ...key, kind: 'patch', changes, orInsert: value }], own),
      ],
      ['batch of inserts', false, (own) => backend.write(A, [insertUser('1', value), other], own)],
      ['batch of puts', false, (own) => backend.write(A, [{ ...key, kind: 'put', value }, other], own)],
      ['replace', true, (own) => backend.write(A, [{ ...key, kind: 'replace', value }], own)],
      [
        'replace of a version',
        true,
        (own) => backend.write(A, [{ ...key, kind: 'replace', value, ifVersion: 1 }], own),
      ],
      ['patch', true, (own) => backend.write(A, [{ ...key, kind: 'patch', changes }], own)],
      [
        'batch of replaces and patches',
        true,
        (own) => backend.write(A, [{ ...key, kind: 'patch', changes }, other], own),
      ],
      ['updateMany', true, (own) => backend.updateMany!(A, request, own)],
      ['updateMany of all tenants', true, (own) => backend.updateMany!('all', request, own)],
      ['claim', true, (own) => backend.claim!(A, request, own)],
    ];

    test.each(kinds.filter(([, hasLive]) => !hasLive || holder !== '1'))('%s', async (_name, hasLive, write) => {
      for (const inSession of [false, true]) {
        await opened.clear();
        await backend.write(A, [insertUser(holder, value, { expiresAt: at(10) })], ctx);
        if (hasLive) await backend.write(A, [live], ctx);
        if (inSession)
          await pool.transaction({ context: ctx }, (session) =>
            write({ ...contextAt(20), session }).then(() => undefined),
          );
        else await write(contextAt(20));
        const [record] = await backend.read(A, [key], contextAt(20));
        expect(record).toMatchObject({ value, version: hasLive ? 2 : 1 });
        const { rows } = await pool.query('SELECT id FROM quartermaster.users WHERE expires_at < now()', [], ctx);
        expect(rows).toEqual([]);
      }
    });
  });

  test('that do not fit the records there are a migration fault', async () => {
    const loose: RecordSchema = { ...users, name: 'loose', unique: [] };
    await backend.ensure([loose], ctx);
    const rows = ['1', '2'].map((id): Write => ({
      kind: 'insert',
      collection: loose,
      id,
      value: { email: 'e', shop: 1 },
    }));
    await backend.write(A, rows, ctx);
    await expect(backend.ensure([{ ...loose, unique: users.unique }], ctx)).rejects.toMatchObject({
      code: 'MIGRATION',
      details: { constraint: 'email' },
    });
  });
});
