/** A server of the test's own whose disk is full: first that of its tables, then that of its log. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { defineCollection, openStorage, type StorageError } from '../src/index.js';
import type { StorageManager } from '../src/manager.js';
import { until } from './support/postgres/fixture.js';
import { OwnServer, serverPrograms, unprivileged } from './support/postgres/own-server.js';
import { SmallDisk } from './support/postgres/small-disk.js';

const programs = serverPrograms();
const missing =
  programs === undefined
    ? 'PostgreSQL to be installed here'
    : SmallDisk.possible()
      ? undefined
      : 'a user who may mount a small file system';
const describeFull = missing === undefined ? describe : describe.skip;
const waits = missing === undefined ? '' : ` (waits for ${missing})`;

const Notes = defineCollection<{ text: string; n?: number }>({
  name: 'notes',
  fields: { n: 'number' },
  indexes: [{ keys: ['n'] }],
  id: 'given',
});
/** About 200 kB that no compression makes smaller. */
const large = (): string => Array.from({ length: 20_000 }, () => Math.random().toString(36).slice(2, 12)).join('');
interface Sql {
  query(text: string): Promise<{ rows: Record<string, unknown>[] }>;
}

/** A server that starts takes connections before it serves them. */
async function opened(url: string): Promise<StorageManager> {
  const settings = { databases: { main: { url, pool: { max: 1 } } } };
  let storage: StorageManager | undefined;
  await until(async () => {
    storage = await openStorage(settings, { environment: {} }).catch(() => undefined);
    return storage !== undefined;
  });
  return storage!;
}

const full = { code: 'STORAGE_FULL', retryable: false, details: { sqlstate: '53100' } };

describeFull(`a disk that is full${waits}`, () => {
  let disk: SmallDisk;
  let server: OwnServer;
  let storage: StorageManager;
  const notes = () => storage.collection(Notes);

  beforeAll(async () => {
    disk = SmallDisk.mount(24, unprivileged());
    server = await OwnServer.create(programs!);
    // It would give the room of what was deleted back, for the next one to fit.
    server.start('-c', 'autovacuum=off');
    await server.ready();
    storage = await opened(server.url);
    const pool = storage.sql<Sql>();
    await pool.query(`CREATE TABLESPACE small LOCATION '${disk.folder}'`);
    await notes().save({ text: 'kept' }, { id: 'kept' });
    await pool.query('ALTER TABLE quartermaster.notes SET TABLESPACE small');
  });
  afterAll(async () => {
    await storage.close();
    await server.remove();
    disk.unmount();
  });
  beforeEach(() => disk.fill());
  afterEach(() => disk.makeRoom());

  test('a write is STORAGE_FULL, alone, in a batch and in a transaction, and nothing of it is written', async () => {
    await expect(notes().save({ text: large() }, { id: 'one' })).rejects.toMatchObject(full);
    const batch = [
      { id: 'small', value: { text: 's' } },
      { id: 'large', value: { text: large() } },
    ];
    await expect(notes().saveMany(batch)).rejects.toMatchObject(full);
    const runs: number[] = [];
    const work = storage.transaction(async (tx) => {
      runs.push(1);
      await tx.collection(Notes).save({ text: 's' }, { id: 'inside' });
      // Whoever takes no notice is not told that it was committed.
      await tx
        .collection(Notes)
        .save({ text: large() }, { id: 'inside-large' })
        .catch(() => undefined);
      await tx
        .collection(Notes)
        .save({ text: 's' }, { id: 'after' })
        .catch(() => undefined);
    });
    await expect(work).rejects.toMatchObject(full);
    expect(runs).toHaveLength(1);
    expect((await notes().list()).items.map(({ id }) => id)).toEqual(['kept']);
    const report = await notes()
      .load([{ id: 'loaded', value: { text: large() } }])
      .catch((error: unknown) => error);
    expect(report).toMatchObject(full);
  });

  test('what is there is read and deleted, the same connections serve, and after room is made all goes on', async () => {
    const pid = async () =>
      (await storage.sql<Sql>().query('SELECT pg_backend_pid() AS pid')).rows[0]!['pid'] as number;
    const before = await pid();
    await expect(notes().save({ text: large() }, { id: 'a' })).rejects.toMatchObject(full);
    expect((await notes().get('kept')).value.text).toBe('kept');
    expect((await storage.ready()).ok).toBe(true);
    disk.makeRoom();
    await notes().saveMany(['a', 'b', 'c'].map((id) => ({ id, value: { text: large(), n: 1 } })));
    expect(await notes().count({ n: 1 })).toBe(3);
    disk.fill();
    expect(await notes().deleteWhere({ n: 1 })).toBe(3);
    expect((await notes().list()).items).toHaveLength(1);
    expect(await pid()).toBe(before);
  });

  test('an error shows no value, and keeps what the server said as its cause', async () => {
    const error = (await notes()
      .save({ text: large() }, { id: 'a' })
      .catch((reason: unknown) => reason)) as Error;
    expect(error.message).toBe('The server has no room left on its disk');
    expect(JSON.stringify(error)).toMatch(/^.{1,500}$/);
    expect((error.cause as Error).message).toContain('No space left on device');
  });
});

describeFull(`a disk of the log that is full${waits}`, () => {
  test('ends the server; what was acknowledged is there after it has room, and no half of a batch', async () => {
    const small = SmallDisk.mount(64, unprivileged());
    const server = await OwnServer.create(programs!);
    let storage: StorageManager | undefined;
    try {
      small.move(join(server.folder, 'data', 'pg_wal'));
      server.start();
      await server.ready();
      storage = await opened(server.url);
      const notes = storage.collection(Notes);
      await notes.saveMany([{ id: 'a0', value: { text: '' } }]);
      small.fill();
      const acknowledged: number[] = [];
      const refused: unknown[] = [];
      for (let i = 1; refused.length === 0; i++)
        await notes
          .saveMany(['a', 'b'].map((half) => ({ id: `${half}${i}`, value: { text: large() } })))
          .then(() => acknowledged.push(i))
          .catch((error: unknown) => refused.push(error));
      // Whether the server could say why, or died first.
      expect(['STORAGE_FULL', 'UNAVAILABLE', 'OUTCOME_UNKNOWN']).toContain((refused[0] as { code: string }).code);
      small.makeRoom();
      const kept = new Set<string>();
      await until(() => {
        // It starts again by itself, unless it found no room for that either.
        if (!server.running) server.start();
        return notes.count().then(
          () => true,
          (error: unknown) => (error as StorageError).retryable !== true && Promise.reject(error as Error),
        );
      }, 60_000);
      for await (const { id } of notes.each({})) kept.add(id);
      expect(acknowledged.length).toBeGreaterThan(5);
      expect(acknowledged.filter((i) => !kept.has(`a${i}`))).toEqual([]);
      expect(
        [...kept].filter((id) => id !== 'a0' && !kept.has(`${id.startsWith('a') ? 'b' : 'a'}${id.slice(1)}`)),
      ).toEqual([]);
      await notes.save({ text: large() }, { id: 'after' });
    } finally {
      await storage?.close({ deadline: 1_000 });
      await server.remove();
      small.unmount();
    }
  });
});
