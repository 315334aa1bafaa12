/** What a user of PostgreSQL needs to be allowed. */
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { defineCollection, openStorage } from '../src/index.js';
import type { SqlPool } from '../src/pools/pool.js';
import { context, describeServer, Fixture } from './support/postgres/fixture.js';

const Orders = defineCollection<{ status: string; total?: number }>({
  name: 'orders',
  id: 'given',
  fields: { status: 'string' },
  indexes: [{ keys: ['status'] }],
});
const WithTotals = defineCollection<{ status: string; total?: number }>({
  name: 'orders',
  id: 'given',
  fields: { status: 'string', total: 'number' },
  indexes: [{ keys: ['status'] }, { keys: ['total'] }],
});

describeServer('a role of its own', () => {
  const role = `test_${randomUUID().replaceAll('-', '')}`;
  let fixture: Fixture;
  let administrator: SqlPool;
  let url: string;
  beforeEach(async () => {
    fixture = await Fixture.open();
    administrator = await fixture.pool({ pool: { max: 1 } });
    await administrator.script(`CREATE ROLE ${role} LOGIN PASSWORD 'open-sesame'`, context());
    const own = new URL(fixture.url);
    own.username = role;
    own.password = 'open-sesame';
    url = own.href;
  });
  afterEach(async () => {
    await administrator.script(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`, context());
    await fixture.close();
  });

  test('that was given the schema makes its tables, changes them, and keeps vectors', async () => {
    await administrator.script(
      `CREATE EXTENSION vector; CREATE SCHEMA quartermaster; GRANT USAGE, CREATE ON SCHEMA quartermaster TO ${role}`,
      context(),
    );
    {
      await using storage = await openStorage({ databases: { main: url } }, { environment: {} });
      await storage.collection(Orders).save({ status: 'open' }, { id: 'a' });
      await storage.transaction((tx) => tx.tasks.create({ title: 'Pack' }));
      const vectors = storage.vectors();
      await vectors.createCollection({ name: 'docs', dimension: 2 });
      await vectors.upsert('docs', [{ id: 'v', vector: [1, 0] }]);
      expect(await vectors.search('docs', { vector: [1, 0], topK: 1 })).toMatchObject([{ id: 'v' }]);
    }
    await using changed = await openStorage({ databases: { main: url } }, { environment: {} });
    const orders = changed.collection(WithTotals);
    expect((await orders.query({ status: 'open' })).items).toMatchObject([{ id: 'a' }]);
  });

  test('that may make schemas in the database makes its own', async () => {
    const database = new URL(url).pathname.slice(1);
    await administrator.script(`GRANT CREATE ON DATABASE ${database} TO ${role}`, context());
    await using storage = await openStorage({ databases: { main: url } }, { environment: {} });
    await storage.collection(Orders).save({ status: 'open' }, { id: 'a' });
    expect(await storage.collection(Orders).get('a')).toMatchObject({ value: { status: 'open' } });
  });

  test('that may neither is refused', async () => {
    await using storage = await openStorage({ databases: { main: url } }, { environment: {} });
    await expect(storage.collection(Orders).save({ status: 'open' }, { id: 'a' })).rejects.toMatchObject({
      code: 'UNAUTHORIZED',
      details: { sqlstate: '42501' },
    });
  });
});
