/** Runs programs for tests: output and exit code, a safety limit, and no more at once than the machine can bear. */
import { execFile, type ChildProcess } from 'node:child_process';
import { setPriority } from 'node:os';

export interface Finished {
  /** `null`: it was ended by a signal, the safety limit's among others. */
  readonly code: number | null;
  /** Standard output and standard error. */
  readonly output: string;
}

/** Runs a program to its end, with an environment that names no server and no settings. */
export function run(command: string, parameters: string[], cwd: string, limit: number): Promise<Finished> {
  const keep = ['PATH', 'HOME', 'TMPDIR', 'LANG'].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value]];
  });
  const options = {
    cwd,
    env: Object.fromEntries(keep) as Record<string, string>,
    timeout: limit,
    killSignal: 'SIGKILL',
    maxBuffer: 64 * 1024 * 1024,
  } as const;
  return new Promise((resolve) => {
    const child = execFile(command, parameters, options, (_error, stdout, stderr) => {
      resolve({ code: child.exitCode, output: stdout + stderr });
    });
    child.stdin?.end();
  });
}

/** Lets one of many processes give way to the tests that run beside them, which would else wait for all of them. */
export function giveWay({ pid }: ChildProcess): void {
  if (pid !== undefined) setPriority(pid, 10);
}

/** Gives a function that runs tasks, at most `count` of them at once, in the order they came. */
export function limited(count: number): <R>(task: () => Promise<R>) => Promise<R> {
  const lanes: Promise<unknown>[] = Array.from({ length: count }, () => Promise.resolve());
  let next = 0;
  return (task) => {
    const lane = next++ % count;
    const result = lanes[lane]!.then(task);
    lanes[lane] = result.catch(() => undefined);
    return result;
  };
}
