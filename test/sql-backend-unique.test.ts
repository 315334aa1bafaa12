import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RecordBackend, RecordSchema, Write } from '../src/backends/backend.js';
import { ALL } from '../src/filter/syntax.js';
import type { SqlPool } from '../src/pools/pool.js';
import { A, at, contextAt, ctx, insertUser, openBackend, users, type Opened } from './support/sql/fixture.js';

let opened: Opened;
let backend: RecordBackend;
let pool: SqlPool;

beforeAll(async () => {
  opened = await openBackend();
  ({ backend, pool } = opened);
}, 60_000);

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
