/** Changes to tables of a server that others write meanwhile. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { sql } from '../src/backends/sql/index.js';
import { tablePlan } from '../src/backends/sql/table-plan.js';
import { postgres } from '../src/backends/sql/postgres/dialect.js';
import type { RecordBackend, RecordSchema, Write } from '../src/backends/backend.js';
import { defineCollection } from '../src/collection/definition.js';
import { openStorage } from '../src/index.js';
import type { SqlPool } from '../src/pools/pool.js';
import { context, describeServer, Fixture, gate, until } from './support/postgres/fixture.js';

const T = { tenant: 't' };
const define = (more: object = {}): RecordSchema =>
  defineCollection<Record<string, unknown>>({ name: 'orders', id: 'given', ...more } as never).schema;
const plain = define({ fields: { n: 'number', s: 'string' } });
const indexed = define({ fields: { n: 'number', s: 'string' }, indexes: [{ keys: ['s', 'n'] }] });
const unique = define({ fields: { n: 'number', s: 'string' }, unique: [{ name: 'byN', fields: ['n'] }] });
const ROWS = 200_000;

describeServer('the schema on PostgreSQL', () => {
  let fixture: Fixture;
  let pool: SqlPool;
  let backend: RecordBackend;
  beforeEach(async () => {
    fixture = await Fixture.open();
    pool = await fixture.pool();
    backend = sql.create(pool, 'main');
    await backend.ensure([plain], context());
  });
  afterEach(() => fixture.close());

  const fill = (rows: number): Promise<unknown> =>
    pool.query(
      "INSERT INTO quartermaster.orders SELECT 't', 'r' || i, 1, now(), now(), 'infinity', " +
        "jsonb_build_object('n', i, 's', md5(i::text), 'x', repeat('x', 200)) FROM generate_series(1, $1::int) i",
      [rows],
      context(),
    );
  const indexes = async (): Promise<Record<string, boolean>> => {
    const text =
      'SELECT c.relname::text AS name, i.indisvalid AS valid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid ' +
      "WHERE i.indrelid = 'quartermaster.orders'::regclass AND NOT i.indisprimary";
    const { rows } = await pool.query(text, [], context());
    return Object.fromEntries(rows.map((row) => [row['name'] as string, row['valid'] as boolean]));
  };
  const valid = (schema: RecordSchema): Record<string, boolean> =>
    Object.fromEntries(tablePlan(postgres, schema).indexes.map(({ name }) => [name, true]));
  const put = (id: string): Write => ({ kind: 'put', collection: plain, id, value: { n: -1, s: id } });

  /** A build of an index waits for the end of this, which wrote before it. */
  const holdBuilds = async (): Promise<() => Promise<void>> => {
    const [written, ended] = [gate(), gate()];
    const holding = pool.transaction({ context: context() }, async (session) => {
      await backend.write(T, [put('held')], context({ session }));
      written.open();
      await ended.passed;
    });
    await written.passed;
    return () => {
      ended.open();
      return holding;
    };
  };
  const isBuilding = async (): Promise<boolean> => {
    const text = 'SELECT 1 FROM pg_stat_progress_create_index WHERE datname = current_database()';
    return (await pool.query(text, [], context())).rows.length > 0;
  };

  test('an index comes to a table of 200,000 rows while others write it', async () => {
    await fill(ROWS);
    const young = sql.create(await fixture.pool(), 'young');
    const letBuild = await holdBuilds();
    let isBuilt = false;
    const building = young.ensure([indexed], context()).finally(() => (isBuilt = true));
    await until(isBuilding);
    const write = (writer: number, i: number) => backend.write(T, [put(`w${writer}-${i % 50}`)], context());
    const writers = [1, 2, 3];
    // Behind one that locks the table they would wait for as long as it waits.
    for (let i = 0; i < 50; i++) await Promise.all(writers.map((writer) => write(writer, i)));
    expect([isBuilt, await isBuilding()]).toEqual([false, true]);
    await letBuild();
    await Promise.all(
      writers.map(async (writer) => {
        for (let i = 0; !isBuilt; i++) await write(writer, i);
      }),
    );
    await building;
    expect(await indexes()).toEqual(valid(indexed));
  });

  test('many that ask for the same index at once build it once', async () => {
    await fill(20_000);
    const backends = await Promise.all(
      [1, 2, 3].map(async () => sql.create(await fixture.pool({ pool: { max: 2 } }), 'x')),
    );
    const schemas = [indexed, unique];
    for (const schema of schemas) {
      await Promise.all([...backends, ...backends].map((one) => one.ensure([schema], context())));
      expect(await indexes()).toMatchObject(valid(schema));
    }
    const { rows } = await pool.query('SELECT note FROM quartermaster.qm_schema', [], context());
    expect(JSON.stringify(rows)).not.toContain('work');
  });

  test('one connection is enough', async () => {
    await fill(1_000);
    const small = sql.create(await fixture.pool({ pool: { max: 1 } }), 'small');
    const worded = define({ fields: { n: 'number' }, unique: [{ name: 'byN', fields: ['n'] }], text: ['s'] });
    await small.ensure([worded], context());
    expect(await indexes()).toMatchObject(valid(worded));
  });

  test('what a build that was cut off has left is taken away and built anew', async () => {
    await fill(20_000);
    const [index] = tablePlan(postgres, indexed).indexes.filter(({ name }) => name.includes('_i_'));
    await pool.script(`CREATE INDEX ${index!.name} ${index!.on}`, context());
    await pool.query(
      'UPDATE pg_index SET indisvalid = false WHERE indexrelid = $1::text::regclass',
      [`quartermaster.${index!.name}`],
      context(),
    );
    expect((await indexes())[index!.name]).toBe(false);
    await backend.ensure([indexed], context());
    expect(await indexes()).toEqual(valid(indexed));
  });

  test('a process that is killed while it builds leaves nothing in the way', async () => {
    await fill(20_000);
    const letBuild = await holdBuilds();
    const child = spawn(
      process.execPath,
      ['--no-warnings', fileURLToPath(new URL('./children/index-builder.js', import.meta.url)), fixture.url],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const exit = once(child, 'exit');
    await until(isBuilding);
    child.kill('SIGKILL');
    await exit;
    await letBuild();
    await backend.ensure([indexed], context());
    expect(await indexes()).toEqual(valid(indexed));
  });

  test('words are not made for a record that was deleted and made anew meanwhile', async () => {
    const first = define({ text: ['a'] });
    const second = define({ text: ['b'] });
    await backend.ensure([first], context());
    const insert: Write = { kind: 'insert', collection: second, id: 'r', value: { a: 'red', b: 'fox' } };
    await backend.write(T, [insert], context());
    let isMet = false;
    const beside = new Proxy(pool, {
      get(target, key) {
        const member: unknown = Reflect.get(target, key);
        if (typeof member !== 'function') return member;
        const bound = (member as (...parameters: unknown[]) => unknown).bind(target);
        if (key !== 'query') return bound;
        return async (...parameters: unknown[]) => {
          if (String(parameters[0]).includes('SET words') && !isMet) {
            isMet = true;
            await backend.write(T, [{ kind: 'delete', collection: second, id: 'r' }], context());
            await backend.write(T, [{ ...insert, value: { a: 'red', b: 'owl' } }], context());
          }
          return bound(...parameters);
        };
      },
    });
    await sql.create(beside, 'beside').ensure([second], context());
    expect(isMet).toBe(true);
    const found = (word: string) =>
      backend.count(T, { collection: second, filter: { op: 'text', words: [word] } }, context());
    expect([await found('owl'), await found('fox')]).toEqual([1, 0]);
  });

  test('words that were made in part are gone on with', async () => {
    await fill(3_000);
    const worded = define({ fields: { n: 'number', s: 'string' }, text: ['x'] });
    let pages = 0;
    const failing = new Proxy(pool, {
      get(target, key) {
        const member: unknown = Reflect.get(target, key);
        if (typeof member !== 'function') return member;
        const bound = (member as (...parameters: unknown[]) => unknown).bind(target);
        if (key !== 'query') return bound;
        return (...parameters: unknown[]) => {
          if (String(parameters[0]).includes('SET words') && ++pages > 3) throw new Error('cut off');
          return bound(...parameters);
        };
      },
    });
    await expect(sql.create(failing, 'failing').ensure([worded], context())).rejects.toThrow('cut off');
    pages = -1_000;
    const before = pages;
    await sql.create(failing, 'going on').ensure([worded], context());
    expect(pages - before).toBe(3);
    const { rows } = await pool.query("SELECT count(*) FROM quartermaster.orders WHERE words = '{}'", [], context());
    expect(Number(rows[0]!['count'])).toBe(0);
  });

  test('the first use inside a transaction builds outside of it, and the function runs again', async () => {
    await fill(1_000);
    const Orders = defineCollection<{ n: number; s: string }>({
      name: 'orders',
      id: 'given',
      fields: { n: 'number', s: 'string' },
      indexes: [{ keys: ['s', 'n'] }],
    });
    await using storage = await openStorage({ databases: { main: fixture.url } }, { environment: {} });
    let runs = 0;
    await storage.transaction(async (tx) => {
      runs++;
      await tx.collection(Orders).save({ n: -5, s: 'inside' }, { id: 'inside' });
    });
    expect(runs).toBe(2);
    expect(await indexes()).toEqual(valid(indexed));
  });
});
