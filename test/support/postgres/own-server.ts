/** A PostgreSQL server of the test's own, which it may kill, freeze and start again. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const LIBRARIES = '/usr/lib/postgresql';

/** The programs of the newest PostgreSQL that is installed here; `undefined`: none is. */
export function serverPrograms(): string | undefined {
  const versions = existsSync(LIBRARIES) ? readdirSync(LIBRARIES).map(Number).filter(Boolean) : [];
  const folder = join(LIBRARIES, String(Math.max(...versions)), 'bin');
  return existsSync(join(folder, 'initdb')) ? folder : undefined;
}

/** The server refuses to run as root. */
export function unprivileged(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

/** Below those that systems give to outgoing connections and to whoever asks for any: one of these would be taken again soon. */
export async function freePort(): Promise<number> {
  for (;;) {
    const server = createServer().listen(10_000 + Math.floor(Math.random() * 20_000), '127.0.0.1');
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    if (!isFree) continue;
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    return port;
  }
}

export class OwnServer {
  private process: ChildProcess | undefined;

  private constructor(
    private readonly programs: string,
    readonly folder: string,
    private readonly port: number,
    readonly user: { uid?: number; gid?: number },
  ) {}

  static async create(programs: string): Promise<OwnServer> {
    const user = unprivileged();
    const folder = mkdtempSync(join(tmpdir(), 'postgres-'));
    if (user.uid !== undefined) chownSync(folder, user.uid, user.gid!);
    const options = ['-D', join(folder, 'data'), '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-sync'];
    execFileSync(join(programs, 'initdb'), [...options, '--locale=C.UTF-8'], { ...user, cwd: folder, stdio: 'ignore' });
    return new OwnServer(programs, folder, await freePort(), user);
  }

  get url(): string {
    return `postgresql://postgres@127.0.0.1:${this.port}/postgres`;
  }

  /** Whether its process has not ended, by itself or by `kill`. */
  get running(): boolean {
    return this.process?.exitCode === null && this.process.signalCode === null;
  }

  /** Starts the process; it takes connections a little later. @param options `-c name=value`. */
  start(...options: string[]): void {
    const own = [
      '-D',
      'data',
      '-p',
      String(this.port),
      '-c',
      'listen_addresses=127.0.0.1',
      '-c',
      `unix_socket_directories=`,
    ];
    this.process = spawn(join(this.programs, 'postgres'), [...own, ...options], {
      ...this.user,
      cwd: this.folder,
      stdio: 'ignore',
    });
  }

  /** Resolves when it accepts a connection. */
  async ready(): Promise<void> {
    for (const end = performance.now() + 60_000; performance.now() < end;) {
      const socket = connect(this.port, '127.0.0.1');
      const accepted = await new Promise((resolve) => {
        socket.once('connect', () => resolve(true));
        socket.once('error', () => resolve(false));
      });
      socket.destroy();
      if (accepted) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error('The server did not start');
  }

  /** Ends the process and those that it started. */
  async kill(signal: 'SIGKILL' | 'SIGINT'): Promise<void> {
    const { process } = this;
    this.process = undefined;
    if (process === undefined || process.exitCode !== null) return;
    const backends = signal === 'SIGKILL' ? this.processes(process.pid!) : [];
    const exited = once(process, 'exit');
    process.kill(signal);
    for (const pid of backends) signalTo(pid, 'SIGKILL');
    await exited;
    if (signal === 'SIGKILL') rmSync(join(this.folder, 'data', 'postmaster.pid'), { force: true });
  }

  /** Stops or continues the server and all its processes: the sockets stay open. */
  signalAll(signal: 'SIGSTOP' | 'SIGCONT'): void {
    const pid = this.process!.pid!;
    for (const one of [pid, ...this.processes(pid)]) signalTo(one, signal);
  }

  async remove(): Promise<void> {
    await this.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }

  private processes(parent: number): number[] {
    try {
      return execFileSync('ps', ['-o', 'pid=', '--ppid', String(parent)], { encoding: 'utf8' })
        .split('\n')
        .map(Number)
        .filter(Boolean);
    } catch {
      return [];
    }
  }
}

function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended already.
  }
}
