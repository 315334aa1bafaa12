/** A collection on PostgreSQL beside a peer on the same server, each on its own table of the same orders. */
import pg from 'pg';
import { openStorage } from 'quartermaster';
import { compare, type Row } from '../../measure.js';
import { withDatabase } from '../database.js';
import { each, idOf, type Order, Orders, PAGE, PAGE_FILTER, ROWS, valueOf, versions } from '../orders.js';

/** A peer, as its own documentation would have one write it. */
export interface Peer {
  insert(id: string, value: Order): Promise<unknown>;
  get(id: string): Promise<unknown>;
  /** Only when the record has that version, where the peer has such a thing. */
  replace(id: string, value: Order, version: number): Promise<unknown>;
  /** The 20 orders of a status with the least total. Absent: it has none. */
  page?(status: string): Promise<unknown>;
  close(): Promise<void>;
}

/** The table of peers that have columns. */
const TABLE =
  'CREATE TABLE peer_orders (id text PRIMARY KEY, version int NOT NULL, created_at timestamptz NOT NULL, ' +
  'updated_at timestamptz NOT NULL, status text NOT NULL, total float8 NOT NULL, note text NOT NULL); ' +
  'CREATE INDEX ON peer_orders (status, total)';

const ROUNDS = { rounds: 7 };

export function benchBeside(open: (url: string) => Promise<Peer>): Promise<Row[]> {
  return withDatabase(async (url) => {
    await using storage = await openStorage({ databases: { main: url } }, { environment: {} });
    const orders = storage.collection(Orders);
    await orders.load(ROWS);
    const client = new pg.Client(url);
    await client.connect();
    await client.query(TABLE);
    const peer = await open(url);
    for (const { id, value } of ROWS) await peer.insert(id, value);
    await client.query('ANALYZE');
    let made = 0;
    const ours = versions();
    const theirs = versions();
    const rows = [
      await compare(
        'insert',
        '',
        each((i) => orders.insert(valueOf(i), { id: `n${made++}` })),
        each((i) => peer.insert(`n${made++}`, valueOf(i))),
        ROUNDS,
      ),
      await compare(
        'get by id',
        '',
        each((i) => orders.get(idOf(i))),
        each((i) => peer.get(idOf(i))),
        ROUNDS,
      ),
      await compare(
        'replace if version',
        '',
        each((i) => orders.replace(`o${i}`, valueOf(i), { ifVersion: ours(i) })),
        each((i) => peer.replace(`o${i}`, valueOf(i), theirs(i))),
        ROUNDS,
      ),
    ];
    if (peer.page !== undefined)
      rows.push(
        await compare(
          'page of 20 by an index',
          '',
          each(() => orders.query(PAGE_FILTER, PAGE)),
          each(() => peer.page!(PAGE_FILTER.status)),
          ROUNDS,
        ),
      );
    await peer.close();
    await client.end();
    return rows;
  });
}
