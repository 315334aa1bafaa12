/**
 * A database in memory for one run of a suite. It begins with a dump of an empty one, which is kept where the tools of a
 * project keep such things: making one takes PGlite seconds, loading it a fraction of one.
 */
import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { PreparedTarget } from '../../component.js';
import { exists } from './database.js';

export async function createTestDatabase(url: string): Promise<PreparedTarget> {
  const file = await dumpOfEmpty().catch(() => undefined);
  return { url: file === undefined ? url : `${url}?from=${file}`, drop: () => Promise.resolve() };
}

async function dumpOfEmpty(): Promise<string> {
  const engine = await stat(createRequire(import.meta.url).resolve('@electric-sql/pglite'));
  const folder = join(process.cwd(), 'node_modules', '.cache', 'quartermaster');
  // Of this very engine: another version's may not read it.
  const file = join(folder, `pglite-small-${engine.size}-${Math.floor(engine.mtimeMs)}.tar`);
  if (await exists(file)) return file;
  const { PGlite } = await import('@electric-sql/pglite');
  // A log of 1 MB instead of 16, and 16 MB of buffers instead of 160, which PGlite fills with zeros whenever it opens:
  // that is a third of what opening costs.
  const empty = await PGlite.create({ initDbStartParams: ['--wal-segsize=1'] });
  await empty.exec("ALTER SYSTEM SET shared_buffers = '16MB'");
  // Two thirds of its files are of databases that others would be copied from.
  await empty.exec("UPDATE pg_database SET datistemplate = false WHERE datname LIKE 'template%'");
  for (const template of ['template0', 'template1']) await empty.exec(`DROP DATABASE ${template}`);
  const dump = await empty.dumpDataDir('none');
  await empty.close();
  await mkdir(folder, { recursive: true });
  // Whole or not at all: others may be making it, too.
  const made = `${file}.${process.pid}`;
  await writeFile(made, Buffer.from(await dump.arrayBuffer()));
  await rename(made, file);
  return file;
}
