/** TLS with a server of the test's own, whose certificate is for `localhost`. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { systemClock as clock } from '../src/clock.js';
import { postgres } from '../src/pools/postgres/index.js';
import type { SqlPool } from '../src/pools/pool.js';
import { context, rowsOf, until } from './support/postgres/fixture.js';
import { isCancel } from './support/postgres/messages.js';
import { OwnServer, serverPrograms } from './support/postgres/own-server.js';
import { Proxy } from './support/proxy.js';

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
    const setup = await open(server.url);
    for (const [user, kind] of [
      ['scram', 'scram-sha-256'],
      ['plain', 'scram-sha-256'],
      ['md5', 'md5'],
    ])
      await setup.script(
        `SET password_encryption = '${kind}'; CREATE ROLE ${user} LOGIN PASSWORD 'open-sesame'`,
        context(),
      );
    const rules = join(server.folder, 'data', 'pg_hba.conf');
    const own = 'host all scram all scram-sha-256\nhost all plain all password\nhost all md5 all md5\n';
    writeFileSync(rules, own + readFileSync(rules, 'utf8'));
    await setup.query('SELECT pg_reload_conf()', [], context());
    await setup.close(clock.monotonic() + 1_000);
    await until(() =>
      open(server.url.replace('postgres@', 'scram:wrong@')).then(
        () => false,
        () => true,
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

  test('a certificate alone means that the server is checked', async () => {
    const ca = readFileSync(certificate, 'utf8');
    expect(await encrypted(urlOf('localhost'), { ca })).toBe(true);
    expect(await encrypted(urlOf('localhost', `?sslrootcert=${certificate}`))).toBe(true);
    await expect(open(urlOf('127.0.0.1'), { ca })).rejects.toMatchObject({ code: 'CONFIGURATION' });
  });

  test('channel_binding=require is kept: a server that asks in another way is refused, and gets no password', async () => {
    const urlFor = (user: string, mode: string) =>
      urlOf('127.0.0.1', `?channel_binding=require&sslmode=${mode}`).replace('postgres@', `${user}:open-sesame@`);
    expect(await encrypted(urlFor('scram', 'require'))).toBe(true);
    for (const url of [
      urlFor('scram', 'disable'),
      urlFor('plain', 'require'),
      urlFor('md5', 'require'),
      urlFor('postgres', 'require'),
    ])
      await expect(open(url)).rejects.toMatchObject({
        code: 'CONFIGURATION',
        message: expect.stringContaining('channel_binding=require') as unknown,
      });
    // Not refused before the server could tell: the password is right.
    expect(await encrypted(urlFor('plain', 'require').replace('=require', '=prefer'))).toBe(true);
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

  test('the request to stop a statement is never in the clear', async () => {
    const proxy = await Proxy.open(server.url);
    const { sent } = proxy.swallow(isCancel);
    const url = new URL(server.url);
    url.port = String(proxy.port);
    try {
      for (const mode of ['prefer', 'require']) {
        const pool = await open(url.href, { mode });
        const slow = pool.query('SELECT pg_sleep(120) -- secured', [], context({ timeout: 100 }));
        await expect(slow).rejects.toMatchObject({ code: 'TIMEOUT' });
        const running = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%-- secured' AND state = 'active'";
        await until(async () => (await rowsOf(pool, running)).length === 0);
        await pool.close(clock.monotonic() + 1_000);
      }
      expect(sent).toEqual([]);
    } finally {
      await proxy.close();
    }
  });
});
