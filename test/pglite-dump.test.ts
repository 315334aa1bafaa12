/** A database in memory that begins with a dump. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { PGlite } from '@electric-sql/pglite';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineCollection, openStorage, type StorageManager } from '../src/index.js';
import { PGLITE_IN_MEMORY } from './support/pglite-memory.js';

const Notes = defineCollection<{ text: string }>({ name: 'notes', id: 'given' });

let folder: string;
beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'pglite-dump-'))));
afterEach(() => rm(folder, { recursive: true }));

const open = (url: string): Promise<StorageManager> => openStorage({ databases: { main: url } }, { environment: {} });

describe('a dump', () => {
  test('is what a database in memory begins with, each one anew', async () => {
    const file = join(folder, 'seed ä.tar');
    {
      await using storage = await open(PGLITE_IN_MEMORY);
      await storage.collection(Notes).insert({ text: 'seeded' }, { id: 'a' });
      const dump = await storage.sql<PGlite>().dumpDataDir('none');
      await writeFile(file, Buffer.from(await dump.arrayBuffer()));
    }
    for (const id of ['b', 'c']) {
      await using storage = await open(`pglite::memory:?from=${file}`);
      const notes = storage.collection(Notes);
      await notes.insert({ text: 'own' }, { id });
      expect((await notes.list()).items.map((note) => note.id)).toEqual(['a', id]);
      expect((await notes.get('a')).version).toBe(1);
    }
  });

  test('that is not there, or is none, is named', async () => {
    await expect(open(`pglite::memory:?from=${join(folder, 'none.tar')}`)).rejects.toMatchObject({
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
    await expect(open('pglite::memory:?from=')).rejects.toMatchObject({ code: 'CONFIGURATION' });
  });
});
