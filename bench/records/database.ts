/** A database on the server in TEST_POSTGRES_URL, for one bench. */
import pg from 'pg';

export async function withDatabase<R>(work: (url: string) => Promise<R>): Promise<R> {
  const server = process.env['TEST_POSTGRES_URL'];
  if (server === undefined) throw new Error('TEST_POSTGRES_URL is not set');
  const admin = new pg.Client(server);
  await admin.connect();
  const name = `bench_${process.pid}`;
  await admin.query(`CREATE DATABASE ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  try {
    return await work(url.href);
  } finally {
    await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
    await admin.end();
  }
}

/** For connections that come after. The same for all: the disk takes longer than what is compared here, and never the same. */
export async function withoutDisk(url: string): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  await client.query(`ALTER DATABASE ${new URL(url).pathname.slice(1)} SET synchronous_commit = off`);
  await client.end();
}
