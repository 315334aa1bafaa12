/** Beside Drizzle, with prepared queries. */
import { and, asc, eq, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { doublePrecision, integer, pgTable, text, timestamp } from 'drizzle-orm/pg-core';
import pg from 'pg';
import type { Peer } from './beside.js';

const time = (name: string) => timestamp(name, { withTimezone: true }).notNull();
const orders = pgTable('peer_orders', {
  id: text().primaryKey(),
  version: integer().notNull(),
  createdAt: time('created_at'),
  updatedAt: time('updated_at'),
  status: text().notNull(),
  total: doublePrecision().notNull(),
  note: text().notNull(),
});
const { placeholder } = sql;

export async function openDrizzle(url: string): Promise<Peer> {
  const pool = new pg.Pool({ connectionString: url });
  pool.on('error', () => undefined);
  const database = drizzle({ client: pool });
  const insert = database
    .insert(orders)
    .values({
      id: placeholder('id'),
      version: 1,
      createdAt: placeholder('now'),
      updatedAt: placeholder('now'),
      status: placeholder('status'),
      total: placeholder('total'),
      note: placeholder('note'),
    })
    .prepare('insert');
  const get = database
    .select()
    .from(orders)
    .where(eq(orders.id, placeholder('id')))
    .prepare('get');
  const replace = database
    .update(orders)
    .set({
      version: sql`${orders.version} + 1`,
      updatedAt: sql`${placeholder('now')}`,
      status: sql`${placeholder('status')}`,
      total: sql`${placeholder('total')}`,
      note: sql`${placeholder('note')}`,
    })
    .where(and(eq(orders.id, placeholder('id')), eq(orders.version, placeholder('version'))))
    .returning({ version: orders.version, createdAt: orders.createdAt })
    .prepare('replace');
  const page = database
    .select()
    .from(orders)
    .where(eq(orders.status, placeholder('status')))
    .orderBy(asc(orders.total), asc(orders.id))
    .limit(21)
    .prepare('page');
  return {
    insert: (id, value) => insert.execute({ id, ...value, now: new Date() }),
    get: (id) => get.execute({ id }),
    replace: (id, value, version) => replace.execute({ id, ...value, version, now: new Date().toISOString() }),
    page: (status) => page.execute({ status }),
    close: () => pool.end(),
  };
}
