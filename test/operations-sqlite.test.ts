/** What the operations do to a real file: with each library that is there. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type Sqlite from 'better-sqlite3';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Folder } from './support/sqlite/fixture.js';

import { fill, open, Parts } from './support/sqlite/parts.js';

const WRITER = fileURLToPath(new URL('./children/sqlite-writer.js', import.meta.url));

let folder: Folder;
beforeEach(() => {
  folder = new Folder();
});
afterEach(() => folder.remove());

describe('a file', () => {
  test('is copied while another process writes', async () => {
    const file = folder.file();
    await using storage = await open(file);
    await fill(storage);
    const child = spawn(process.execPath, [WRITER, file, '0', '200'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const closed = once(child, 'close');
    await once(child.stdout, 'data');
    child.stdout.resume();
    await storage.operations().backup({ file: folder.file('copy.db') });
    expect(await closed).toEqual([0, null]);
    await using copy = await open(folder.file('copy.db'));
    expect(await copy.operations().integrityCheck()).toEqual({ ok: true, faults: [] });
    const client = copy.sql<Pick<Sqlite.Database, 'prepare'>>();
    const told = (text: string): unknown => (client.prepare(text).get() as { readonly told: unknown }).told;
    const counter = told(
      "SELECT value ->> '$.weight' AS told FROM quartermaster_parcels WHERE id = 'counter'",
    ) as number;
    // Each batch wrote three and counted itself.
    expect(told("SELECT count(*) AS told FROM quartermaster_parcels WHERE id <> 'counter'")).toBe(counter * 3);
  });

  test('gives its room back by vacuum, and its log by checkpoint', async () => {
    await using storage = await open(folder.file());
    await fill(storage);
    const operations = storage.operations();
    const full = await operations.databaseSize();
    await storage.collection(Parts).deleteWhere({ all: true });
    expect((await operations.pageCount()).freePages).toBeGreaterThan(50);
    expect(await operations.databaseSize()).toBe(full);
    await operations.vacuum({ analyze: true });
    expect((await operations.pageCount()).freePages).toBe(0);
    expect(await operations.databaseSize()).toBeLessThan(full / 5);
    expect(statSync(`${folder.file()}-wal`).size).toBeGreaterThan(0);
    expect(await operations.checkpoint()).toEqual({ complete: true });
    expect(statSync(`${folder.file()}-wal`).size).toBe(0);
    expect(statSync(folder.file()).size).toBe(await operations.databaseSize());
    await expect(operations.vacuum({ collection: Parts })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  });

  test('whose log another process reads is not checkpointed wholly, and says so', async () => {
    await using storage = await open(folder.file());
    await fill(storage, 10);
    await using other = await open(folder.file());
    const reader = other.sql<Sqlite.Database>();
    reader.exec('BEGIN; SELECT count(*) FROM quartermaster_parts');
    reader.prepare('SELECT count(*) FROM quartermaster_parts').get();
    await storage.collection(Parts).save({ kind: 'new', filling: '' }, { id: 'new' });
    expect(await storage.operations().checkpoint()).toEqual({ complete: false });
    reader.exec('COMMIT');
    expect(await storage.operations().checkpoint()).toEqual({ complete: true });
  });

  test('tells the foreign keys that lead nowhere', async () => {
    await using storage = await open(folder.file());
    const client = storage.sql<Sqlite.Database>();
    client.exec(
      'CREATE TABLE owner (id INTEGER PRIMARY KEY); CREATE TABLE thing (owner INTEGER REFERENCES owner (id));' +
        'PRAGMA foreign_keys = OFF; INSERT INTO thing VALUES (7); PRAGMA foreign_keys = ON',
    );
    const violations = await storage.operations().foreignKeyCheck();
    expect(violations).toEqual([{ table: 'thing', rowid: 1, references: 'owner' }]);
    client.exec('INSERT INTO owner VALUES (7)');
    expect(await storage.operations().foreignKeyCheck()).toEqual([]);
  });

  test('gathers statistics by optimize where there are none, and always by analyze', async () => {
    await using storage = await open(folder.file());
    await fill(storage, 500);
    const client = storage.sql<Sqlite.Database>();
    const known = client.prepare<[], { n: number }>(
      "SELECT count(*) AS n FROM sqlite_schema WHERE name = 'sqlite_stat1'",
    );
    expect(known.get()!.n).toBe(0);
    await storage.operations().optimize();
    const rows = client.prepare<[], { stat: string }>(
      "SELECT stat FROM sqlite_stat1 WHERE tbl = 'quartermaster_parts'",
    );
    const counts = (count: number) => rows.all().some(({ stat }) => stat.startsWith(`${count} `));
    expect(counts(500)).toBe(true);
    await storage.collection(Parts).save({ kind: 'kind-1', filling: '' }, { id: 'one more' });
    await storage.operations().optimize();
    expect(counts(501)).toBe(false);
    await storage.operations().analyze({ collection: Parts });
    expect(counts(501)).toBe(true);
    await expect(storage.operations().analyze({ collection: 'parts; DROP' })).rejects.toMatchObject({
      code: 'VALIDATION',
    });
    await expect(storage.operations().analyze({ collection: 'nothing' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('a damaged file', () => {
  /** The pages of a table or an index that hold its entries. */
  async function leaves(name: string): Promise<{ page: number; offset: number; size: number }[]> {
    await using storage = await open(folder.file());
    const text =
      "SELECT pageno AS page, pgoffset AS offset, pgsize AS size FROM dbstat WHERE name LIKE ? AND pagetype = 'leaf'";
    return storage.sql<Sqlite.Database>().prepare(text).all(name) as { page: number; offset: number; size: number }[];
  }

  function change(offset: number, size: number, work: (page: Buffer) => void): void {
    const file = openSync(folder.file(), 'r+');
    const page = Buffer.alloc(size);
    readSync(file, page, 0, size, offset);
    work(page);
    writeSync(file, page, 0, size, offset);
    closeSync(file);
  }

  beforeEach(async () => {
    await using storage = await open(folder.file());
    await fill(storage);
  });

  test('is found by both checks where an entry lies outside of its page', async () => {
    const [, second] = await leaves('quartermaster_parts');
    // Where the fourth entry lies within the page.
    change(second!.offset, second!.size, (page) => page.writeUInt16BE(0xffff, 14));
    await using storage = await open(folder.file());
    const operations = storage.operations();
    for (const report of [await operations.integrityCheck(), await operations.quickCheck()]) {
      expect(report.ok).toBe(false);
      expect(report.faults.join('\n')).toContain(`page ${second!.page}`);
    }
    expect((await operations.integrityCheck({ collection: Parts, limit: 1 })).faults).toHaveLength(1);
  });

  test('is found where it is too damaged to be gone through', async () => {
    const [, second] = await leaves('quartermaster_parts');
    change(second!.offset, second!.size, (page) => page.fill(0xa5));
    await using storage = await open(folder.file());
    expect(await storage.operations().integrityCheck()).toMatchObject({ ok: false, faults: [expect.any(String)] });
  });

  test('is found by the full check alone where an index differs from its table; reindex heals it', async () => {
    const [leaf] = await leaves('quartermaster_parts_i%');
    change(leaf!.offset, leaf!.size, (page) => {
      const at = page.lastIndexOf('part0');
      expect(at).toBeGreaterThan(0);
      page.write('q', at);
    });
    await using storage = await open(folder.file());
    const operations = storage.operations();
    expect(await operations.quickCheck()).toEqual({ ok: true, faults: [] });
    const report = await operations.integrityCheck();
    expect(report).toMatchObject({ ok: false });
    expect(report.faults.join('\n')).toMatch(/missing from index quartermaster_parts_i/);
    const index = (await operations.indexes({ collection: Parts })).find(({ name }) => name.includes('_i_'))!;
    await expect(operations.reindex({ index: { name: 'no such index' } })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(operations.reindex({})).rejects.toMatchObject({ code: 'VALIDATION' });
    await operations.reindex({ index });
    expect(await operations.integrityCheck()).toEqual({ ok: true, faults: [] });
  });
});
