/** What `docs/scaling.md` says: tables that the host has partitioned by tenant beforehand, and a database that only reads. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { definitions } from '../src/backends/sql/postgres/definitions.js';
import { defineCollection, openStorage } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';
import type { OperationMessage } from '../src/operation.js';
import { systemClock as clock } from '../src/clock.js';
import { databaseOf } from './support/open-parts.js';
import { PROJECT } from './support/project.js';
import { storageTargets } from './support/storage-targets.js';

interface Queryable {
  query(text: string): Promise<{ rows: unknown[] }>;
}

interface Order {
  status: string;
  code?: string;
  note?: string;
}

/** Those of the page, by the way of partitioning. */
const statements = async (way: string): Promise<string> => {
  const page = await readFile(join(PROJECT, 'docs', 'scaling.md'), 'utf8');
  return [...page.matchAll(/```sql\n([^]*?)```/g)].map(([, text]) => text!).find((text) => text.includes(way))!;
};
const Orders = defineCollection<Order>({
  name: 'orders',
  fields: { status: 'string', code: 'string' },
  indexes: [{ keys: ['status'] }],
  unique: [{ name: 'code', fields: ['code'] }],
  text: ['note'],
  id: 'given',
});
const TENANTS = Array.from({ length: 12 }, (_, i) => `tenant.${i}`);
const SERVERS = storageTargets('partitioned tables').filter(({ name }) => name === 'postgres' || name === 'pglite');

describe.each(SERVERS.flatMap((server) => ['BY HASH', 'BY LIST'].map((way) => ({ way, ...server }))))(
  'a table partitioned $way on $name',
  ({ way, prepare }) => {
    let storage: StorageManager;
    let drop: () => Promise<void>;
    const orders = (tenant: string) => storage.tenant(tenant).collection(Orders);
    const script = async (text: string): Promise<void> => {
      const { pool } = databaseOf(storage);
      await (pool as unknown as { script(text: string, context: object): Promise<void> }).script(text, {
        now: clock.now(),
        deadline: clock.monotonic() + 30_000,
      });
    };
    const ask = async (text: string): Promise<readonly Record<string, unknown>[]> =>
      (await storage.sql<{ query(text: string): Promise<{ rows: Record<string, unknown>[] }> }>().query(text)).rows;
    beforeAll(async () => {
      const { url, drop: end } = await prepare();
      drop = end;
      storage = await openStorage({ databases: { main: url } }, { environment: {} });
      await script(await statements(way));
      for (const tenant of TENANTS)
        await orders(tenant).saveMany(
          ['a', 'b', 'c'].map((id) => ({ id, value: { status: id, code: id, note: `Red fox ${id}` } })),
        );
    });
    afterAll(async () => {
      await storage.close();
      await drop();
    });

    test('its operations and settle() know it', async () => {
      const { collections } = await storage.operations().stats({ exact: true });
      const found = collections.find(({ collection }) => collection === 'orders')!;
      expect(found.records).toBeGreaterThan(0);
      expect(found.bytes).toBeGreaterThan(0);
      await script('CREATE INDEX orders_i_0123abcd ON quartermaster.orders (tenant, updated_at)');
      expect(await storage.settle(Orders)).toEqual({ indexes: ['orders_i_0123abcd'] });
    });

    test('is taken as it is; its rows lie in the partitions, and its indexes are on all of them', async () => {
      expect(await ask("SELECT relkind FROM pg_class WHERE oid = 'quartermaster.orders'::regclass")).toEqual([
        { relkind: 'p' },
      ]);
      const parts = await ask(
        'SELECT tableoid::regclass::text AS part, count(*)::int AS n FROM quartermaster.orders GROUP BY 1',
      );
      expect(parts.length).toBeGreaterThan(1);
      expect(parts.reduce((sum, { n }) => sum + (n as number), 0)).toBe(36);
      const [{ indexes, invalid }] = (await ask(
        "SELECT count(*)::int AS indexes, count(*) FILTER (WHERE NOT indisvalid)::int AS invalid FROM pg_index WHERE indrelid = 'quartermaster.orders'::regclass",
      )) as [{ indexes: number; invalid: number }];
      // The key, expiry, the words, the status, the constraint.
      expect({ indexes, invalid }).toEqual({ indexes: 5, invalid: 0 });
    });

    test('a query of one tenant looks into one partition', async () => {
      const [plan] = await ask(
        "EXPLAIN (FORMAT JSON) SELECT * FROM quartermaster.orders WHERE tenant = 'tenant.1' AND id = 'a'",
      );
      const names = new Set(JSON.stringify(plan).match(/"Relation Name":"[^"]+"/g));
      expect(names.size).toBe(1);
      expect(
        (await orders('tenant.1').query({ status: { $gte: 'b' } }, { sort: { status: 'desc' } })).items.map(
          ({ id }) => id,
        ),
      ).toEqual(['c', 'b']);
      expect(await orders('tenant.2').count({ $text: 'fox RED' })).toBe(3);
    });

    test('upserts, versions, batches and bulk writes are those of any table', async () => {
      const mine = orders('tenant.3');
      expect((await mine.save({ status: 'z', code: 'a' }, { id: 'a' })).version).toBe(2);
      await expect(mine.insert({ status: 'z' }, { id: 'a' })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
      await expect(mine.replace('a', { status: 'y' }, { ifVersion: 1 })).rejects.toMatchObject({ code: 'CONFLICT' });
      expect((await mine.patch('a', { set: { status: 'x' } }, { if: { status: 'z' } })).version).toBe(3);
      expect(await mine.updateWhere({ status: { $in: ['b', 'c'] } }, { set: { status: 'd' } })).toBe(2);
      expect(await mine.claim({ status: 'd' }, { set: { status: 'e' } }, { limit: 1 })).toHaveLength(1);
      expect(
        (await mine.load(Array.from({ length: 700 }, (_, i) => ({ id: `l${i}`, value: { status: 'l' } })))).written,
      ).toBe(700);
      expect(await mine.deleteWhere({ status: 'l' })).toBe(700);
      await storage.tenant('tenant.3').transaction(async (tx) => {
        await tx.collection(Orders).update('a', (value) => ({ ...value, status: 'in' }));
      });
      expect((await mine.get('a')).value.status).toBe('in');
      expect(await orders('tenant.4').count({ status: { $in: ['a', 'b', 'c'] } })).toBe(3);
    });

    test('a unique constraint holds within the tenant, and is named', async () => {
      const named = { code: 'ALREADY_EXISTS', details: { constraint: 'code', collection: 'orders' } };
      await expect(orders('tenant.5').save({ status: 's', code: 'a' }, { id: 'new' })).rejects.toMatchObject(named);
      const batch = [
        { id: 'n1', value: { status: 's' } },
        { id: 'n2', value: { status: 's', code: 'b' } },
      ];
      await expect(orders('tenant.5').saveMany(batch)).rejects.toMatchObject(named);
      expect(await orders('tenant.5').count()).toBe(3);
    });

    test('what expired is swept from every partition', async () => {
      for (const tenant of TENANTS) await orders(tenant).save({ status: 'gone' }, { id: 'gone', ttl: 1 });
      const { backend } = databaseOf(storage);
      const later = { now: new Date(Date.now() + 60_000), deadline: clock.monotonic() + 30_000 };
      expect(await backend.sweep(Orders.schema, later.now, 7, later)).toBe(7);
      expect(await backend.sweep(Orders.schema, later.now, 100, later)).toBe(5);
      expect(await ask('SELECT count(*)::int AS n FROM quartermaster.orders')).toEqual([{ n: 36 }]);
    });
  },
);

const [server] = storageTargets('a replica').filter(({ name }) => name === 'postgres');
(server === undefined ? test.skip : test)(
  'a database that accepts no writes answers reads of what the other wrote',
  async () => {
    const { url, drop } = await server!.prepare();
    const replica = `${url}?options=${encodeURIComponent('-c default_transaction_read_only=on')}`;
    const databases = { main: url, replica: { url: replica, critical: false } };
    const looks = new Set<string>();
    let listen!: (message: unknown) => void;
    const looked = new Promise<void>((resolve) => {
      listen = (message) => {
        const { operation, component } = message as OperationMessage;
        if (operation === 'relay' && looks.add(component).size === 2) resolve();
      };
    });
    subscribe('quartermaster:operation', listen);
    const storage = await openStorage({ databases, stores: { default: 'main' } }, { environment: {} });
    const told: unknown[] = [];
    storage.on('error', (error) => told.push(error));
    try {
      await storage.collection(Orders).save({ status: 'a' }, { id: 'a' });
      const copy = storage.collection(Orders, { on: 'replica' });
      expect((await copy.query({ status: 'a' })).items).toHaveLength(1);
      const inside = storage.transaction((tx) => tx.collection(Orders).count(), {
        on: 'replica',
        isolation: 'snapshot',
      });
      expect(await inside).toBe(1);
      await expect(copy.save({ status: 'b' }, { id: 'b' })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      expect((await storage.health()).components['replica']).toMatchObject({
        status: 'degraded',
        message: 'The server accepts no writes',
      });
      expect((await storage.ready()).ok).toBe(true);
      // Both have been looked at for what is to be delivered: nobody has used an outbox, and none is made.
      await looked;
      const { rows } = await storage
        .sql<Queryable>()
        .query("SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'qm_outbox%'");
      expect(rows).toEqual([]);
      // That the replica could not make its own is no news.
      expect(told).toEqual([]);
    } finally {
      unsubscribe('quartermaster:operation', listen);
      await storage.close();
      await drop();
    }
  },
);

test('the tables of the page have the columns and the key that the library makes', async () => {
  const made = definitions.tableDdl('orders').replace(/^[^(]*\(/, '');
  const bare = (text: string): string => text.replace(/\s+/g, '');
  for (const way of ['BY HASH', 'BY LIST'])
    expect(bare(await statements(way))).toContain(bare(`CREATE TABLE quartermaster.orders (${made} PARTITION`));
});
