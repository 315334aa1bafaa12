import type { PGlite } from '@electric-sql/pglite';
import { expect, test } from '@jest/globals';
import { defineCollection, openStorage } from '../src/index.js';
import { PGLITE_IN_MEMORY } from './support/pglite-memory.js';

const Notes = defineCollection<{ text: string }>({ name: 'notes', id: 'given' });

test('sql() gives the client of the database, whose statements take their turn', async () => {
  await using storage = await openStorage({ databases: { main: PGLITE_IN_MEMORY } }, { environment: {} });
  const client = storage.sql<PGlite>();
  await client.exec('CREATE TABLE mine (n int)');
  let counted: Promise<number> | undefined;
  await storage
    .transaction(async (tx) => {
      await tx.collection(Notes).save({ text: 'a' }, { id: 'a' });
      // Inside the transaction it would be rolled back with it.
      counted = client.query<{ n: number }>('INSERT INTO mine VALUES (1) RETURNING n').then(({ rows }) => rows[0]!.n);
      throw new Error('no');
    })
    .catch(() => undefined);
  expect(await counted).toBe(1);
  const { rows } = await client.query<{ count: number }>('SELECT count(*)::int AS count FROM mine');
  expect(rows).toEqual([{ count: 1 }]);
  expect(await storage.collection(Notes).count()).toBe(0);
  await expect(client.close()).rejects.toMatchObject({ code: 'VALIDATION' });
});

test('a database of another kind is refused by its name', async () => {
  await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
  expect(() => storage.sql()).toThrow(/main has no sql client/);
  expect(() => storage.mongo('main')).toThrow(/main has no mongo client/);
  expect(() => storage.sql('other')).toThrow(/No database "other"/);
});
