/**
 * Records on SQLite beside the very statements that the backend runs, prepared on the same handle: `npm run bench:sqlite`.
 * The raw side parses the values, and runs each statement to its end: one that stops at the first row of RETURNING makes no
 * checkpoint, and leaves that work to the other side.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type BetterSqlite3 from 'better-sqlite3';
import type { OperationContext } from '../src/component.js';
import { systemClock as clock } from '../src/clock.js';
import type { RecordSchema, Write } from '../src/backends/backend.js';
import { findStatement } from '../src/backends/sql/find.js';
import { sql } from '../src/backends/sql/index.js';
import { sqlite as dialect } from '../src/backends/sql/sqlite/dialect.js';
import { NEVER } from '../src/backends/sql/sqlite/expressions.js';
import { parseSort } from '../src/filter/cursor.js';
import { parseFilter, type FilterDomain } from '../src/filter/syntax.js';
import { tokenize } from '../src/filter/text.js';
import { sqlite } from '../src/pools/sqlite/index.js';
import { compare, print } from './measure.js';

const folder = mkdtempSync(join(tmpdir(), 'bench-'));
const pool = sqlite.create(`sqlite:${join(folder, 'file.db')}`, { engine: 'better-sqlite3' }, { clock, name: 'bench' });
await pool.open({ clock, signal: new AbortController().signal });
const backend = sql.create(pool, 'bench');
const context = (): OperationContext => ({ now: clock.now(), deadline: clock.monotonic() + 30_000 });
const T = { tenant: 'a' };

const orders: RecordSchema = {
  name: 'orders',
  fields: new Map([
    ['status', { type: 'string', maxBytes: 512 }],
    ['total', { type: 'number', maxBytes: 512 }],
  ]),
  indexes: [],
  unique: [],
  text: [],
};
const indexed: RecordSchema = {
  ...orders,
  name: 'indexed',
  indexes: [
    {
      name: 'byStatus',
      scope: 'tenant',
      keys: [
        { field: 'status', direction: 'asc' },
        { field: 'total', direction: 'asc' },
      ],
    },
  ],
};
const value = (i: number) => ({ status: `s${i % 50}`, total: i, note: 'x'.repeat(550) });
const put = (collection: RecordSchema, i: number, id = `o${(i * 7) % 5_000}`): Write => ({
  kind: 'put',
  collection,
  id,
  value: value(i),
});
const id = (i: number): string => `o${(i * 7) % 5_000}`;

await backend.ensure([orders, indexed], context());
for (const collection of [orders, indexed])
  for (let i = 0; i < 5_000; i += 500)
    await backend.write(
      T,
      Array.from({ length: 500 }, (_, k) => put(collection, i + k, `o${i + k}`)),
      context(),
    );

const handle = pool.raw!.client() as BetterSqlite3.Database;
const statements = dialect.statements(orders);
const raw = {
  get: handle.prepare<unknown[], { value: string }>(statements.get.text),
  put: handle.prepare(statements.put.text),
  insert: handle.prepare(statements.insert.text),
};
const bound = (i: number, key = id(i)) => ['a', key, Date.now(), Date.now(), NEVER, JSON.stringify(value(i))];

const domain: FilterDomain = {
  declared: new Map([
    ['status', 'string'],
    ['total', 'number'],
  ]),
  envelope: new Map(),
  values: 'json',
  tokenize,
};
const request = {
  collection: indexed,
  filter: parseFilter({ status: 's7' }, domain),
  sort: parseSort({ total: 'asc' }, domain),
  limit: 20,
};
const page = findStatement(dialect, T, request, undefined, clock.now());
const rawPage = handle.prepare<unknown[], { value: string }>(page.text);

const repeat =
  (work: (i: number) => unknown) =>
  async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) await work(i);
  };
/** Without a turn for each call, as a synchronous driver is used. */
const loop =
  (work: (i: number) => unknown) =>
  async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) work(i);
  };
let made = 0;

print('us', [
  await compare(
    'get',
    '0.85',
    repeat((i) => backend.read(T, [{ collection: orders, id: id(i) }], context())),
    loop((i) => JSON.parse(raw.get.get('a', id(i), Date.now())!.value) as unknown),
    { rounds: 31, count: 3_000 },
  ),
  await compare(
    'put',
    '0.85',
    repeat((i) => backend.write(T, [put(orders, i)], context())),
    loop((i) => raw.put.all(...bound(i))),
    { rounds: 31, count: 1_000 },
  ),
  await compare(
    'insert',
    '0.85',
    repeat((i) =>
      backend.write(T, [{ kind: 'insert', collection: orders, id: `n${made++}`, value: value(i) }], context()),
    ),
    loop((i) => raw.insert.run(...bound(i, `n${made++}`))),
    { rounds: 21, count: 500 },
  ),
  await compare(
    'batch of 100 puts',
    '0.85',
    repeat((i) =>
      backend.write(
        T,
        Array.from({ length: 100 }, (_, k) => put(orders, i * 100 + k)),
        context(),
      ),
    ),
    loop((i) => {
      handle.exec('BEGIN IMMEDIATE');
      for (let k = 0; k < 100; k++) raw.put.all(...bound(i * 100 + k));
      handle.exec('COMMIT');
    }),
    { rounds: 15, count: 20 },
  ),
  await compare(
    'page of 20 by an index',
    '0.85',
    repeat(() => backend.find(T, request, context())),
    loop(() => rawPage.all(...page.parameters.values).map((row) => JSON.parse(row.value) as unknown)),
    { rounds: 21, count: 300 },
  ),
]);
await pool.close(clock.monotonic() + 1_000);
rmSync(folder, { recursive: true });
