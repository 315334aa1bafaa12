/** Beside Kysely. */
import { type Generated, Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import type { Peer } from './beside.js';

interface Database {
  readonly peer_orders: {
    readonly id: string;
    readonly version: Generated<number>;
    readonly created_at: Date;
    readonly updated_at: Date;
    readonly status: string;
    readonly total: number;
    readonly note: string;
  };
}

export async function openKysely(url: string): Promise<Peer> {
  const pool = new pg.Pool({ connectionString: url });
  pool.on('error', () => undefined);
  const database = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
  return {
    insert(id, value) {
      const at = new Date();
      return database
        .insertInto('peer_orders')
        .values({ id, version: 1, created_at: at, updated_at: at, ...value })
        .execute();
    },
    get: (id) => database.selectFrom('peer_orders').selectAll().where('id', '=', id).executeTakeFirst(),
    replace: (id, value, version) =>
      database
        .updateTable('peer_orders')
        .set({ ...value, version: sql<number>`version + 1`, updated_at: new Date() })
        .where('id', '=', id)
        .where('version', '=', version)
        .returning(['version', 'created_at'])
        .executeTakeFirst(),
    page: (status) =>
      database
        .selectFrom('peer_orders')
        .selectAll()
        .where('status', '=', status)
        .orderBy('total')
        .orderBy('id')
        .limit(21)
        .execute(),
    close: () => database.destroy(),
  };
}
