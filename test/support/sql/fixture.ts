/** The sql backend on PGlite, and the collections its tests use. */
import { systemClock } from '../../../src/clock.js';
import type { OperationContext } from '../../../src/component.js';
import type { JsonObject, RecordBackend, RecordSchema, Write } from '../../../src/backends/backend.js';
import { sql } from '../../../src/backends/sql/index.js';
import { normalize } from '../../../src/filter/normalize.js';
import { parseFilter, type FieldType, type FilterDomain, type FilterNode } from '../../../src/filter/syntax.js';
import { tokenize } from '../../../src/filter/text.js';
import { pglite } from '../../../src/pools/pglite/index.js';
import type { SqlPool } from '../../../src/pools/pool.js';
import { PGLITE_IN_MEMORY } from '../pglite-memory.js';

const FIELDS: readonly (readonly [string, FieldType])[] = [
  ['s', 'string'],
  ['n', 'number'],
  ['b', 'boolean'],
  ['d', 'date'],
  ['o.s', 'string'],
];
export const things: RecordSchema = {
  name: 'things',
  fields: new Map(FIELDS.map(([path, type]) => [path, { type, maxBytes: 512 }])),
  indexes: [
    { name: 'byS', keys: [{ field: 's', direction: 'asc' }], scope: 'tenant' },
    {
      name: 'byNB',
      keys: [
        { field: 'n', direction: 'desc' },
        { field: 'b', direction: 'asc' },
      ],
      scope: 'tenant',
    },
    { name: 'due', keys: [{ field: 'd', direction: 'asc' }], scope: 'all' },
    { name: 'made', keys: [{ field: 'createdAt', direction: 'desc' }], scope: 'tenant' },
    { name: 'gone', keys: [{ field: 'expiresAt', direction: 'asc' }], scope: 'tenant' },
  ],
  unique: [],
  text: ['t', 'o.t'],
};
export const users: RecordSchema = {
  name: 'users',
  fields: new Map([
    ['email', { type: 'string', maxBytes: 512 }],
    ['shop', { type: 'number', maxBytes: 512 }],
  ]),
  indexes: [],
  unique: [{ name: 'email', fields: ['email', 'shop'] }],
  text: [],
};
export const domain: FilterDomain = {
  declared: new Map(FIELDS),
  envelope: new Map<string, FieldType>([
    ['id', 'string'],
    ['version', 'number'],
    ['createdAt', 'date'],
    ['updatedAt', 'date'],
    ['expiresAt', 'date'],
  ]),
  values: 'json',
  tokenize,
};

const T0 = Date.UTC(2026, 0, 1);
export const at = (milliseconds: number): Date => new Date(T0 + milliseconds);
export const contextAt = (milliseconds: number): OperationContext => ({
  now: at(milliseconds),
  deadline: systemClock.monotonic() + 60_000,
});
export const filterOf = (filter: unknown): FilterNode => normalize(parseFilter(filter, domain));

/** With a minute's time from when it is looked at, however late in its file. */
export const ctx: OperationContext = {
  now: at(0),
  get deadline() {
    return contextAt(0).deadline;
  },
};
export const A = { tenant: 'a' };

export interface Opened {
  readonly pool: SqlPool;
  readonly backend: RecordBackend;
  clear(): Promise<void>;
  close(): Promise<void>;
}

export async function openBackend(): Promise<Opened> {
  const pool = pglite.create(PGLITE_IN_MEMORY, {}, { clock: systemClock, name: 'main' });
  await pool.open({ clock: systemClock, signal: new AbortController().signal });
  const backend = sql.create(pool, 'main');
  await backend.ensure([things, users], ctx);
  return {
    pool,
    backend,
    clear: () => pool.script('DELETE FROM quartermaster.things; DELETE FROM quartermaster.users', ctx),
    close: () => pool.close(systemClock.monotonic() + 5_000),
  };
}

export const insertUser = (id: string, value: JsonObject, more: object = {}): Write => ({
  kind: 'insert',
  collection: users,
  id,
  value,
  ...more,
});
