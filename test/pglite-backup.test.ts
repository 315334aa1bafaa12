/** Backups of PGlite, and databases that begin with one. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { defineCollection, openStorage, type StorageManager } from '../src/index.js';
import { PGLITE_IN_MEMORY, pgliteIn } from './support/pglite-memory.js';

const Notes = defineCollection<{ text: string }>({ name: 'notes', id: 'given' });

let folder: string;
beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'pglite-dump-'))));
afterEach(() => rm(folder, { recursive: true }));

const open = (url: string): Promise<StorageManager> => openStorage({ databases: { main: url } }, { environment: {} });

/** Of a database with one note. */
async function seed(file: string): Promise<void> {
  await using storage = await open(PGLITE_IN_MEMORY);
  await storage.collection(Notes).insert({ text: 'seeded' }, { id: 'a' });
  const { bytes } = await storage.operations().backup({ file });
  expect((await stat(file)).size).toBe(bytes);
}

describe('a backup', () => {
  test('is what a database in memory begins with, each one anew', async () => {
    const file = join(folder, 'seed ä?.tar');
    await seed(file);
    for (const id of ['b', 'c']) {
      await using storage = await open(`pglite::memory:?from=${file}`);
      const notes = storage.collection(Notes);
      await notes.insert({ text: 'own' }, { id });
      expect((await notes.list()).items.map((note) => note.id)).toEqual(['a', id]);
      expect((await notes.get('a')).version).toBe(1);
    }
  });

  test('is what a directory begins with that has no database yet, once', async () => {
    const file = join(folder, 'seed.tar');
    await seed(file);
    const url = `pglite:${join(folder, 'restored')}?from=${file}`;
    {
      await using storage = await open(url);
      await storage.collection(Notes).insert({ text: 'own' }, { id: 'b' });
    }
    await rm(file);
    await using storage = await open(url);
    expect((await storage.collection(Notes).list()).items.map((note) => note.id)).toEqual(['a', 'b']);
  });

  test('has what was written before it began, and nothing in part, while others write', async () => {
    const file = join(folder, 'busy.tar');
    await using storage = await open(pgliteIn(join(folder, 'busy')));
    let written = 0;
    let isOver = false;
    const write = async (): Promise<void> => {
      // A database in this process waits for nobody, and lets nobody in by itself.
      for (; !isOver; written++, await setImmediate())
        await storage.transaction(async (tx) => {
          for (const half of ['x', 'y']) await tx.collection(Notes).insert({ text: half }, { id: `${half}${written}` });
        });
    };
    const writing = write();
    while (written < 20) await setImmediate();
    const before = written;
    await storage.operations().backup({ file });
    const after = written;
    isOver = true;
    await writing;
    await using restored = await open(`pglite::memory:?from=${file}`);
    const idsOf = async (text: string): Promise<string[]> => {
      const ids: string[] = [];
      for await (const { id } of restored.collection(Notes).each({ text })) ids.push(id.slice(1));
      return ids.sort();
    };
    const halves = await idsOf('x');
    expect(await idsOf('y')).toEqual(halves);
    expect(halves.length).toBeGreaterThanOrEqual(before);
    expect(halves.length).toBeLessThanOrEqual(after + 1);
  });

  test('is whole or not there, and replaces nothing', async () => {
    await using storage = await open(PGLITE_IN_MEMORY);
    const operations = storage.operations();
    const file = join(folder, 'there.tar');
    await writeFile(file, 'mine');
    await expect(operations.backup({ file })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    await expect(operations.backup({ file: join(folder, 'nowhere', 'a.tar') })).rejects.toMatchObject({
      code: 'VALIDATION',
    });
    const ended = operations.backup({ file: join(folder, 'ended.tar'), signal: AbortSignal.abort() });
    await expect(ended).rejects.toMatchObject({ code: 'ABORTED' });
    expect(await readdir(folder)).toEqual(['there.tar']);
  });

  test('that is not there, or is none, is named', async () => {
    const directory = join(folder, 'new');
    for (const place of [':memory:', directory])
      await expect(open(`pglite:${place}?from=${join(folder, 'none.tar')}`)).rejects.toMatchObject({
        code: 'CONFIGURATION',
        component: 'main',
        message: expect.stringMatching(/none\.tar cannot be read \(ENOENT\)/) as unknown,
      });
    const file = join(folder, 'text.tar');
    await writeFile(file, 'no dump'.repeat(1_000));
    await expect(open(`pglite::memory:?from=${file}`)).rejects.toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringMatching(/text\.tar/) as unknown,
    });
    // What failed has left nothing that a database would be taken for.
    await seed(join(folder, 'none.tar'));
    await using storage = await open(`pglite:${directory}?from=${join(folder, 'none.tar')}`);
    expect(await storage.collection(Notes).count()).toBe(1);
  });

  test.each([
    'pglite::memory:?from=',
    'pglite:./x?from=',
    'pglite:./x?form=seed.tar',
    'pglite::memory:?x',
    'pglite::disk:',
  ])('%s is refused', async (url) => {
    await expect(open(url)).rejects.toMatchObject({ code: 'CONFIGURATION' });
  });
});
