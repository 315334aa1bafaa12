/** Which process this is, in words that another one can check: a pid alone is reused. */
import { readFile, readlink } from 'node:fs/promises';
import { hostname } from 'node:os';

export interface ProcessIdentity {
  readonly pid: number;
  readonly host: string;
  /** The kernel's start time of the process, where there is /proc: a reused pid has another one. */
  readonly started?: string;
  /** Changes with each start of the machine, where there is /proc. */
  readonly boot?: string;
  /** Where pids are counted: containers on one host have each their own. */
  readonly pidNamespace?: string;
}

export async function currentProcess(): Promise<ProcessIdentity> {
  const [started, boot, pidNamespace] = await Promise.all([
    startOf('self'),
    readFile('/proc/sys/kernel/random/boot_id', 'utf8').then(
      (text) => text.trim(),
      () => undefined,
    ),
    readlink('/proc/self/ns/pid').catch(() => undefined),
  ]);
  return {
    pid: process.pid,
    host: hostname(),
    ...(typeof started === 'string' && { started }),
    ...(boot !== undefined && { boot }),
    ...(pidNamespace !== undefined && { pidNamespace }),
  };
}

/** Whether both are one process; where no start can be read, as far as the pid tells. */
export function isSame(one: ProcessIdentity, other: ProcessIdentity): boolean {
  const keys = ['pid', 'host', 'started', 'boot', 'pidNamespace'] as const;
  return keys.every((key) => one[key] === other[key]);
}

/**
 * Whether `other` runs: `unknown` when this process cannot see it, because it is on another host or in a container, or of
 * another start of this one (or of another host with its name), and when its pid is in use but no start can be compared
 * (no /proc): another process may have been given the pid since.
 */
export async function liveness(other: ProcessIdentity, self: ProcessIdentity): Promise<'alive' | 'dead' | 'unknown'> {
  if (other.host !== self.host || other.boot !== self.boot) return 'unknown';
  if (other.pidNamespace !== self.pidNamespace) return 'unknown';
  if (!answers(other.pid)) return 'dead';
  const started = await startOf(String(other.pid));
  if (started === 'ended') return 'dead';
  if (started === undefined || other.started === undefined) return 'unknown';
  return started === other.started ? 'alive' : 'dead';
}

function answers(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It runs, but belongs to another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The start time in clock ticks since the boot; `ended` for a zombie; `undefined` where it cannot be read. */
async function startOf(pid: string): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (stat === undefined) return undefined;
  // The second field is the command in parentheses, which may itself hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? 'ended' : fields[19];
}
