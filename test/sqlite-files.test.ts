import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Write } from '../src/backends/backend.js';
import { ALL } from '../src/filter/syntax.js';
import { loadEngine } from '../src/pools/sqlite/engines.js';
import { sqlite } from '../src/pools/sqlite/index.js';
import { leavesAtOnce } from './support/sqlite/engines.js';
import { context, Folder, openContext, openSqlite, parcels } from './support/sqlite/fixture.js';

const T = { tenant: 't' };
const all = { collection: parcels, filter: ALL };
const put = (id: string, value = {}): Write => ({ kind: 'put', collection: parcels, id, value });

// Elsewhere a file that is open cannot be taken away.
const onPosix = process.platform === 'win32' ? test.skip : test;

let folder: Folder;
beforeEach(() => {
  folder = new Folder();
});
afterEach(() => folder.remove());

describe('a file', () => {
  test('keeps what was written, and is one database under all its names', async () => {
    const { path } = folder;
    const file = folder.file('deep/er/file.db');
    const url = `sqlite:${file}`;
    const before = sqlite.key(url, {}, 'a');
    const first = await openSqlite(url);
    expect(first.backend.capabilities.durable).toBe(true);
    await first.backend.ensure([parcels], context());
    await first.backend.write(T, [put('x', { status: 'kept' })], context());
    await first.close();
    await first.close();
    await expect(first.backend.read(T, [{ collection: parcels, id: 'x' }], context())).rejects.toMatchObject({
      code: 'CLOSED',
    });
    expect(() => first.pool.raw!.client()).toThrow(expect.objectContaining({ code: 'CLOSED' }));
    // A clean end leaves the file alone.
    if (leavesAtOnce) expect(existsSync(`${file}-wal`)).toBe(false);
    symlinkSync(join(path, 'deep'), join(path, 'link'));
    symlinkSync(file, join(path, 'other.db'));
    const names = [`sqlite:${path}/link/er/file.db`, `sqlite:${path}/other.db`, `sqlite:${relative('.', file)}`];
    for (const name of names) expect(sqlite.key(name, {}, 'b')).toBe(before);
    expect(sqlite.key(`sqlite:${path}/another.db`, {}, 'a')).not.toBe(before);
    const again = await openSqlite(names[0]!);
    const [record] = await again.backend.read(T, [{ collection: parcels, id: 'x' }], context());
    expect(record).toMatchObject({ version: 1, value: { status: 'kept' } });
    await again.close();
  });

  test('is checked by its URL and its name in memory', () => {
    expect(['sqlite:./a.db', 'sqlite:/a.db', 'sqlite::memory:'].map((url) => sqlite.checkUrl(url))).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    for (const url of ['sqlite:', 'sqlite://a.db', 'sqlite::shared:', 'sqlite:a.db?mode=ro', 'sqlite:./dir/'])
      expect(sqlite.checkUrl(url)).toEqual(expect.any(String));
    for (const url of ['sqlite:memory', 'sqlite:memory:']) expect(sqlite.checkUrl(url)).toContain('sqlite::memory:');
    expect(sqlite.checkUrl('sqlite:./memory')).toBeUndefined();
    expect(sqlite.key('sqlite::memory:', {}, 'a')).not.toBe(sqlite.key('sqlite::memory:', {}, 'b'));
  });

  test('that is no database, is damaged, is a directory or in none: each is told apart', async () => {
    writeFileSync(folder.file('text.db'), 'no database at all\n'.repeat(500));
    await expect(openSqlite(`sqlite:${folder.file('text.db')}`)).rejects.toMatchObject({
      code: 'CONFIGURATION',
      details: { reason: 'SQLITE_NOTADB' },
    });
    expect(readFileSync(folder.file('text.db'), 'utf8')).toMatch(/^no database/);
    await expect(openSqlite(`sqlite:${folder.path}`)).rejects.toMatchObject({ code: 'CONFIGURATION' });
    await expect(openSqlite(`sqlite:${folder.file('text.db')}/a.db`)).rejects.toMatchObject({
      code: 'CONFIGURATION',
      details: { reason: expect.stringMatching(/ENOTDIR|EEXIST/) as unknown },
    });
    const file = folder.file();
    const { backend, close } = await openSqlite(`sqlite:${file}`);
    await backend.ensure([parcels], context());
    const writes = Array.from({ length: 200 }, (_, i) => put(`x${i}`, { filling: 'x'.repeat(1_000) }));
    await backend.write(T, writes, context());
    await close();
    truncateSync(file, 3 * 4_096);
    const damaged = await openSqlite(`sqlite:${file}`).catch((error: unknown) => error);
    if (damaged instanceof Error) expect(damaged).toMatchObject({ code: 'INTERNAL' });
    else {
      const { backend, close } = damaged as Awaited<ReturnType<typeof openSqlite>>;
      await expect(backend.count(T, all, context())).rejects.toMatchObject({
        code: 'INTERNAL',
        message: 'The database file is damaged',
      });
      await close();
    }
  });

  describe('that is taken away while it is open makes the check unhealthy', () => {
    const check = async (spoil: (file: string) => void) => {
      const file = folder.file();
      const { pool, backend, close } = await openSqlite(`sqlite:${file}`);
      await backend.ensure([parcels], context());
      const writes = Array.from({ length: 200 }, (_, i) => put(`x${i}`, { filling: 'x'.repeat(1_000) }));
      await backend.write(T, writes, context());
      await pool.query('PRAGMA wal_checkpoint(TRUNCATE)', [], context());
      expect(await pool.check(AbortSignal.timeout(20_000))).toMatchObject({ status: 'healthy' });
      spoil(file);
      const result = await pool.check(AbortSignal.timeout(20_000));
      await close();
      return result;
    };

    onPosix('when it was removed', async () => {
      const found = await check((file) => rmSync(file));
      expect(found).toMatchObject({
        status: 'unhealthy',
        message: expect.stringMatching(/removed or moved/) as unknown,
      });
    });

    onPosix('when another stands in its place', async () => {
      const found = await check((file) => {
        renameSync(file, `${file}.old`);
        copyFileSync(`${file}.old`, file);
      });
      expect(found).toMatchObject({ status: 'unhealthy', message: expect.stringMatching(/replaced/) as unknown });
    });

    onPosix('when it was cut', async () => {
      const found = await check((file) => truncateSync(file, 3 * 4_096));
      expect(found).toMatchObject({ status: 'unhealthy', message: 'The database file is damaged: it was cut' });
    });
  });

  test('whose text is UTF-16 is refused', async () => {
    const database = (await loadEngine('auto', 'main'))(folder.file());
    database.exec("PRAGMA encoding = 'UTF-16'; CREATE TABLE t (a)");
    database.close();
    await expect(openSqlite(`sqlite:${folder.file()}`)).rejects.toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringMatching(/UTF-16/) as unknown,
    });
  });

  (leavesAtOnce ? test : test.skip)('that may not be written is refused when it is opened', async () => {
    const file = folder.file();
    await (await openSqlite(`sqlite:${file}`)).close();
    chmodSync(file, 0o444);
    chmodSync(folder.path, 0o555);
    const root = process.getuid?.() === 0;
    // Permissions do not bind root.
    if (root) process.seteuid!(65_534);
    try {
      const refused = openSqlite(`sqlite:${file}`);
      await expect(refused).rejects.toMatchObject({ code: 'CONFIGURATION' });
      await expect(openSqlite(`sqlite:${folder.path}/new/file.db`)).rejects.toMatchObject({
        code: 'CONFIGURATION',
        details: { reason: 'EACCES' },
      });
    } finally {
      if (root) process.seteuid!(0);
      chmodSync(folder.path, 0o755);
    }
  });

  test('that is full says so, keeps what it has, and goes on when there is room', async () => {
    const { pool, backend, close } = await openSqlite(`sqlite:${folder.file()}`);
    await backend.ensure([parcels], context());
    await backend.write(T, [put('kept')], context());
    await pool.script('PRAGMA max_page_count = 34', context());
    const filling = { filling: 'x'.repeat(100_000) };
    const full = { code: 'STORAGE_FULL' };
    await expect(backend.write(T, [put('a', filling)], context())).resolves.toMatchObject([{ status: 'written' }]);
    await expect(backend.write(T, [put('b', filling)], context())).rejects.toMatchObject(full);
    await expect(backend.write(T, [put('c'), put('d', filling)], context())).rejects.toMatchObject(full);
    const work = pool.transaction({ context: context() }, async (session) => {
      await backend.write(T, [put('e')], context({ session }));
      await backend.write(T, [put('f', filling)], context({ session })).catch(() => undefined);
      await backend.write(T, [put('g')], context({ session })).catch(() => undefined);
    });
    await expect(work).rejects.toMatchObject(full);
    expect(await backend.count(T, all, context())).toBe(2);
    await pool.script('PRAGMA max_page_count = 10000', context());
    await backend.write(T, [put('b', filling)], context());
    expect(await backend.count(T, all, context())).toBe(3);
    await close();
  });
});

test('an opening that was aborted leaves nothing open', async () => {
  mkdirSync(folder.file('dir'));
  const pool = sqlite.create(`sqlite:${folder.file()}`, {}, { clock: openContext().clock, name: 'main' });
  const opening = pool.open(openContext());
  const closing = pool.close(performance.now() + 60_000);
  await expect(opening).rejects.toMatchObject({ code: 'CLOSED' });
  await closing;
  if (leavesAtOnce) expect(existsSync(`${folder.file()}-wal`)).toBe(false);
  await pool.open(openContext());
  expect(pool.figures()).toMatchObject({ size: 1, idle: 1 });
  await pool.close(performance.now() + 60_000);
});
