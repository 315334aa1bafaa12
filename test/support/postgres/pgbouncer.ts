/** PgBouncer in transaction mode, in front of the server of the tests. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, unprivileged } from './own-server.js';

/** Where Debian and others put it; `undefined`: it is not installed here. */
export function pgbouncerProgram(): string | undefined {
  return ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer', '/usr/local/bin/pgbouncer'].find(existsSync);
}

export interface PgBouncer {
  readonly port: number;
  stop(): Promise<void>;
}

export async function startPgBouncer(program: string, serverUrl: string): Promise<PgBouncer> {
  const { hostname, port: serverPort, username, password } = new URL(serverUrl);
  const user = unprivileged();
  const folder = mkdtempSync(join(tmpdir(), 'pgbouncer-'));
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid!);
  const port = await freePort();
  const settings = join(folder, 'pgbouncer.ini');
  const secret = password === '' ? '' : ` password=${decodeURIComponent(password)}`;
  writeFileSync(
    settings,
    `[databases]\n* = host=${hostname} port=${serverPort} user=${decodeURIComponent(username)}${secret}\n` +
      `[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = ${port}\nunix_socket_dir =\nauth_type = any\n` +
      'pool_mode = transaction\ndefault_pool_size = 2\nlogfile =\npidfile =\n',
  );
  const bouncer = spawn(program, [settings], { ...user, cwd: folder, stdio: 'ignore' });
  const exited = once(bouncer, 'exit');
  return {
    port,
    async stop() {
      bouncer.kill('SIGKILL');
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
