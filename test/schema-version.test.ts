import type { PGlite } from '@electric-sql/pglite';
import { expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defineCollection, openStorage } from '../src/index.js';
import { pgliteIn } from './support/pglite-memory.js';

const Notes = defineCollection<{ text: string }>({ name: 'notes', id: 'given' });

test('a database that a newer library has changed is refused at its first use, and nothing is written', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'schema-'));
  const open = () => openStorage({ databases: { main: pgliteIn(join(directory, 'data')) } }, { environment: {} });
  try {
    {
      await using storage = await open();
      await storage.collection(Notes).save({ text: 'a' }, { id: 'a' });
      await storage
        .sql<PGlite>()
        .exec(`UPDATE quartermaster.qm_migrations SET value = jsonb_set(value, '{step}', '99') WHERE id = 'schema'`);
    }
    await using storage = await openStorage(
      { databases: { main: pgliteIn(join(directory, 'data')) }, health: { cache: 0 } },
      { environment: {} },
    );
    const refused = { code: 'MIGRATION', details: { found: 99, known: 1 } };
    await expect(storage.collection(Notes).save({ text: 'b' }, { id: 'b' })).rejects.toMatchObject(refused);
    await expect(storage.collection(Notes).get('a')).rejects.toMatchObject(refused);
    const { rows } = await storage.sql<PGlite>().query('SELECT id FROM quartermaster.notes');
    expect(rows).toEqual([{ id: 'a' }]);
    // Whoever sends requests sends none here, until the database is again one that this library knows.
    expect((await storage.ready()).ok).toBe(false);
    expect((await storage.health()).components['records:main']).toMatchObject({
      status: 'unhealthy',
      message: expect.stringContaining('upgrade quartermaster'),
    });
    await storage
      .sql<PGlite>()
      .exec(`UPDATE quartermaster.qm_migrations SET value = jsonb_set(value, '{step}', '1') WHERE id = 'schema'`);
    expect((await storage.ready()).ok).toBe(true);
  } finally {
    await rm(directory, { recursive: true });
  }
});
