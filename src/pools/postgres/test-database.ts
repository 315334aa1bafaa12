/** A database for one run of a suite: sorted by a language, so that nothing rests on the collation of bytes. */
import { randomUUID } from 'node:crypto';
import type { PreparedTarget } from '../../component.js';
import { loadLibrary } from './library.js';

/**
 * @param durable whether each commit waits for the disk, as it must where the server itself is killed. A server that
 * lives on loses nothing without, and writes are many times faster.
 */
export async function createTestDatabase(url: string, durable = false): Promise<PreparedTarget> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const options = "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";
  const loose = durable ? [] : [`ALTER DATABASE ${name} SET synchronous_commit = off`];
  await run(url, `CREATE DATABASE ${name} ${options}`, ...loose);
  const own = new URL(url);
  own.pathname = `/${name}`;
  return { url: own.href, drop: () => run(url, `DROP DATABASE ${name} WITH (FORCE)`) };
}

async function run(url: string, ...statements: readonly string[]): Promise<void> {
  const { Client } = await loadLibrary('test');
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}
