/** TLS with a server of the test's own, whose certificate is for `localhost`. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { systemClock as clock } from '../src/clock.js';
import { postgres } from '../src/pools/postgres/index.js';
import type { SqlPool } from '../src/pools/pool.js';
import { context, rowsOf, until } from './support/postgres/fixture.js';
import { OwnServer, serverPrograms } from './support/postgres/own-server.js';

const programs = serverPrograms();
const describeOwn = programs === undefined ? describe.skip : describe;

let server: OwnServer;
let certificate: string;

const urlOf = (host: string, query = '') => `${server.url.replace('127.0.0.1', host)}${query}`;

async function open(url: string, ssl: object = {}): Promise<SqlPool> {
  const pool = postgres.create(url, { ssl }, { clock, name: 'main' });
  await pool.open({ clock, signal: new AbortController().signal });
  return pool;
}

/** Whether the connection is encrypted. */
async function encrypted(url: string, ssl: object = {}): Promise<unknown> {
  const pool = await open(url, ssl);
  try {
    return (await rowsOf(pool, 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()'))[0]!['ssl'];
  } finally {
    await pool.close(clock.monotonic() + 1_000);
  }
}

describeOwn(`TLS${programs === undefined ? ' (waits for PostgreSQL to be installed here)' : ''}`, () => {
  beforeAll(async () => {
    server = await OwnServer.create(programs!);
    certificate = join(server.folder, 'server.crt');
    const key = join(server.folder, 'server.key');
    const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
    const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
    const files = ['-keyout', key, '-out', certificate];
    execFileSync('openssl', ['req', '-x509', ...kind, ...names, ...files], { ...server.user, stdio: 'ignore' });
    server.start('-c', 'ssl=on', '-c', `ssl_cert_file=${certificate}`, '-c', `ssl_key_file=${key}`);
    await server.ready();
    await until(() =>
      encrypted(server.url).then(
        () => true,
        () => false,
      ),
    );
  });
  afterAll(() => server.remove());

  test.each(['prefer', 'require'])('%s is encrypted, whoever the server is', async (mode) => {
    expect(await encrypted(urlOf('127.0.0.1'), { mode })).toBe(true);
    expect(await encrypted(urlOf('127.0.0.1', `?sslmode=${mode}`))).toBe(true);
  });

  test('verify-full wants a certificate that is trusted, for this host', async () => {
    const ca = readFileSync(certificate, 'utf8');
    expect(await encrypted(urlOf('localhost'), { mode: 'verify-full', ca })).toBe(true);
    expect(await encrypted(urlOf('localhost', `?sslmode=verify-full&sslrootcert=${certificate}`))).toBe(true);
    await expect(open(urlOf('localhost'), { mode: 'verify-full' })).rejects.toMatchObject({
      code: 'CONFIGURATION',
      retryable: false,
    });
    await expect(open(urlOf('127.0.0.1'), { mode: 'verify-full', ca })).rejects.toMatchObject({
      code: 'CONFIGURATION',
    });
  });

  test('verify-ca wants it trusted only; require with a ca too', async () => {
    const ca = readFileSync(certificate, 'utf8');
    expect(await encrypted(urlOf('127.0.0.1'), { mode: 'verify-ca', ca })).toBe(true);
    await expect(open(urlOf('127.0.0.1'), { mode: 'verify-ca' })).rejects.toMatchObject({ code: 'CONFIGURATION' });
    expect(await encrypted(urlOf('127.0.0.1'), { mode: 'require', ca })).toBe(true);
  });

  test('a file that cannot be read is told without its name', async () => {
    const error = (await open(urlOf('127.0.0.1'), { mode: 'require', key: '/no/secret.key' }).catch(
      (reason: unknown) => reason,
    )) as Error;
    expect(error).toMatchObject({ code: 'CONFIGURATION' });
    expect(error.message).not.toContain('secret');
  });

  test('a deadline stops the statement on the server', async () => {
    const pool = await open(urlOf('127.0.0.1'), { mode: 'require' });
    const slow = pool.query('SELECT pg_sleep(30) -- slow', [], context({ timeout: 100 }));
    await expect(slow).rejects.toMatchObject({ code: 'TIMEOUT' });
    const running = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%-- slow' AND state = 'active'";
    await until(async () => (await rowsOf(pool, running)).length === 0);
    await pool.close(clock.monotonic() + 1_000);
  });
});
