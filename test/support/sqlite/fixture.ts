/** SQLite databases for tests: files in a folder of their own, and the backend over them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock as clock } from '../../../src/clock.js';
import type { OperationContext } from '../../../src/component.js';
import type { RecordBackend, RecordSchema } from '../../../src/backends/backend.js';
import { sql } from '../../../src/backends/sql/index.js';
import { sqlite } from '../../../src/pools/sqlite/index.js';
import type { SqliteDialectPool } from '../../../src/pools/pool.js';

export const context = (more: Partial<OperationContext> = {}): OperationContext => ({
  now: clock.now(),
  deadline: clock.monotonic() + 30_000,
  ...more,
});

export const openContext = () => ({ clock, signal: new AbortController().signal });

export interface OpenSqlite {
  readonly pool: SqliteDialectPool;
  readonly backend: RecordBackend;
  readonly close: () => Promise<void>;
}

export async function openSqlite(url: string, options: Record<string, unknown> = {}): Promise<OpenSqlite> {
  const pool = sqlite.create(url, options, { clock, name: 'main' });
  await pool.open(openContext());
  return { pool, backend: sql.create(pool, 'main'), close: () => pool.close(clock.monotonic() + 1_000) };
}

export const parcels: RecordSchema = {
  name: 'parcels',
  fields: new Map([
    ['status', { type: 'string', maxBytes: 512 }],
    ['weight', { type: 'number', maxBytes: 512 }],
  ]),
  indexes: [
    {
      name: 'byStatus',
      keys: [
        { field: 'status', direction: 'asc' },
        { field: 'weight', direction: 'asc' },
      ],
      scope: 'tenant',
    },
  ],
  unique: [],
  text: [],
};

/** A folder that is removed with all that is in it. */
export class Folder {
  readonly path = mkdtempSync(join(tmpdir(), 'sqlite-'));
  file(name = 'file.db'): string {
    return join(this.path, name);
  }
  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
