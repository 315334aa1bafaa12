/** The backup of a SQLite database whose writers go on: with each library that is there. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { openStorage } from '../src/index.js';
import { ENGINES } from '../src/pools/sqlite/engine.js';
import { describeEngine } from './support/sqlite/engines.js';
import { Folder } from './support/sqlite/fixture.js';

import { fill, idsOf, MANY, open, Parts } from './support/sqlite/parts.js';

let folder: Folder;
beforeEach(() => {
  folder = new Folder();
});
afterEach(() => folder.remove());

for (const engine of ENGINES)
  describeEngine(`a backup with ${engine}`, engine, () => {
    test('is one moment of a database whose writers go on', async () => {
      await using storage = await open(folder.file(), engine);
      await fill(storage);
      const parts = storage.collection(Parts);
      let copying = true;
      let pairs = 0;
      const writing = (async () => {
        while (copying) {
          const [a, b] = [`w${pairs}-a`, `w${pairs}-b`];
          await storage.transaction(async (tx) => {
            await tx.collection(Parts).save({ kind: 'w', filling: 'y'.repeat(400) }, { id: a });
            await new Promise((resolve) => setImmediate(resolve));
            await tx.collection(Parts).save({ kind: 'w', filling: 'y'.repeat(400) }, { id: b });
          });
          pairs++;
        }
      })();
      const target = folder.file('copy.db');
      const { bytes } = await storage.operations().backup({ file: target });
      const atEnd = pairs;
      copying = false;
      await writing;
      expect(atEnd).toBeGreaterThan(0);
      expect(statSync(target).size).toBe(bytes);
      await using copy = await open(target, engine);
      expect(await copy.operations().integrityCheck()).toEqual({ ok: true, faults: [] });
      const ids = await idsOf(copy);
      expect(ids.filter((id) => id.startsWith('part'))).toHaveLength(MANY);
      const written = ids.filter((id) => id.startsWith('w'));
      // Each transaction is there wholly or not at all, and the first ones are.
      expect(written.sort()).toEqual(
        Array.from({ length: written.length / 2 }, (_, i) => [`w${i}-a`, `w${i}-b`])
          .flat()
          .sort(),
      );
      expect(await parts.count({ kind: 'w' })).toBe(pairs * 2);
    });

    test('that is asked for during a transaction is not empty', async () => {
      await using storage = await open(folder.file(), engine);
      await fill(storage, 300);
      let began!: () => void;
      const begun = new Promise<void>((resolve) => (began = resolve));
      let end!: () => void;
      const ended = new Promise<void>((resolve) => (end = resolve));
      const transaction = storage.transaction(async (tx) => {
        await tx.collection(Parts).save({ kind: 'late', filling: '' }, { id: 'late' });
        began();
        await ended;
      });
      await begun;
      const backup = storage.operations().backup({ file: folder.file('copy.db') });
      await new Promise((resolve) => setImmediate(resolve));
      end();
      await transaction;
      await backup;
      await using copy = await open(folder.file('copy.db'), engine);
      expect(await idsOf(copy)).toHaveLength(301);
    });

    test('goes on while a transaction of the process is open, and beside one that is held elsewhere', async () => {
      await using storage = await open(folder.file(), engine);
      await using other = await open(folder.file(), engine);
      await fill(storage);
      const late = { kind: 'late', filling: '' };
      const backup = storage.operations().backup({ file: folder.file('copy.db') });
      await storage.transaction(async (tx) => {
        await tx.collection(Parts).save(late, { id: 'late' });
        await backup;
      });
      await other.transaction(async (tx) => {
        await tx.collection(Parts).save(late, { id: 'later' });
        await storage.operations().backup({ file: folder.file('second.db') });
      });
      await using copy = await open(folder.file('copy.db'), engine);
      await using second = await open(folder.file('second.db'), engine);
      expect([(await idsOf(copy)).length, (await idsOf(second)).length]).toEqual([MANY, MANY + 1]);
    });

    test('of a file that was moved while it was open is a copy of what is open', async () => {
      await using storage = await open(folder.file(), engine);
      await fill(storage, 300);
      renameSync(folder.file(), folder.file('moved.db'));
      await storage.operations().backup({ file: folder.file('copy.db') });
      await using copy = await open(folder.file('copy.db'), engine);
      expect(await idsOf(copy)).toHaveLength(300);
    });

    test('that is aborted leaves nothing, and the database works on', async () => {
      await using storage = await open(folder.file(), engine);
      await fill(storage);
      const stop = new AbortController();
      const before = readdirSync(folder.path);
      const backup = storage.operations().backup({ file: folder.file('copy.db'), signal: stop.signal });
      stop.abort();
      await expect(backup).rejects.toMatchObject({ code: 'ABORTED' });
      expect(readdirSync(folder.path).sort()).toEqual(before.sort());
      expect(await storage.collection(Parts).count()).toBe(MANY);
    });

    test('is refused where a file is, and where no directory is', async () => {
      await using storage = await open(folder.file(), engine);
      writeFileSync(folder.file('there'), 'mine');
      const backup = (options: { file: string }) => storage.operations().backup(options);
      await expect(backup({ file: folder.file('there') })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
      await expect(backup({ file: folder.file() })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
      await expect(backup({ file: folder.file('no/where') })).rejects.toMatchObject({ code: 'VALIDATION' });
      await expect(backup({ file: '' })).rejects.toMatchObject({ code: 'VALIDATION' });
      await expect(backup(undefined as never)).rejects.toMatchObject({ code: 'VALIDATION' });
    });

    test('of a database in memory is a file', async () => {
      await using storage = await openStorage(
        { databases: { main: { url: 'sqlite::memory:', engine } } },
        { environment: {} },
      );
      await fill(storage, 300);
      await storage.operations().backup({ file: folder.file('copy.db') });
      await using copy = await open(folder.file('copy.db'), engine);
      expect(await idsOf(copy)).toHaveLength(300);
    });

    test('sizes, pages and indexes are told', async () => {
      await using storage = await open(folder.file(), engine);
      await fill(storage, 500);
      const operations = storage.operations();
      const { collections } = await operations.stats();
      const parts = collections.find(({ collection }) => collection === 'parts')!;
      expect(parts).toMatchObject({ records: 500, exact: true });
      expect(parts.bytes).toBeGreaterThan(500 * 400);
      const indexes = await operations.indexes({ collection: Parts });
      expect(parts.indexBytes).toBe(indexes.reduce((sum, { bytes }) => sum + bytes, 0));
      const { pages, pageBytes } = await operations.pageCount();
      expect(await operations.databaseSize()).toBe(pages * pageBytes);
    });
  });
