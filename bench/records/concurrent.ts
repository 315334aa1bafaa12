/** On PostgreSQL: many callers at once, without and with the pipeline, beside `pool.query` of `pg` as most services call it. */
import pg from 'pg';
import { openStorage } from 'quartermaster';
import { textOf } from '../../test/support/statements.js';
import { compare, type Row } from '../measure.js';
import { withDatabase } from './database.js';
import { atOnce, idOf, now, Orders, ROWS } from './orders.js';

const CALLERS = 32;
const CONNECTIONS = 8;

export function benchConcurrent(): Promise<Row[]> {
  return withDatabase(async (url) => {
    const rows = [];
    for (const [pipeline, goal] of [
      [false, '1.3'],
      [true, '1.7'],
    ] as const) {
      const main = { url, pipeline, pool: { max: CONNECTIONS } };
      await using storage = await openStorage({ databases: { main } }, { environment: {} });
      const orders = storage.collection(Orders);
      await orders.load(ROWS);
      const pool = new pg.Pool({ connectionString: url, max: CONNECTIONS });
      pool.on('error', () => undefined);
      const get = await textOf(() => orders.get('o1'));
      await pool.query('ANALYZE');
      rows.push(
        await compare(
          `get by id, ${CALLERS} at once${pipeline ? ', pipeline' : ''} / pool.query unnamed`,
          goal,
          atOnce(CALLERS, (i) => orders.get(idOf(i))),
          atOnce(CALLERS, (i) => pool.query(get, ['default', idOf(i), now()])),
          { rounds: 7, count: 2_000 },
        ),
      );
      await pool.end();
    }
    return rows;
  });
}
