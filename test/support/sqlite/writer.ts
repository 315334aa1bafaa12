/** A process of its own that writes batches to a SQLite file. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const WRITER = fileURLToPath(new URL('../../children/sqlite-writer.js', import.meta.url));

/** Runs the writer; `lines` resolves when it has acknowledged so many batches. */
export function write(file: string, first: number, count: number) {
  const child = spawn(process.execPath, [WRITER, file, String(first), String(count)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const acknowledged: number[] = [];
  const waiting: { count: number; reached: () => void }[] = [];
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    acknowledged.push(...lines.map(Number));
    for (const { count, reached } of waiting) if (acknowledged.length >= count) reached();
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  return {
    acknowledged,
    ended,
    kill: () => child.kill('SIGKILL'),
    reached: (count: number) => new Promise<void>((reached) => waiting.push({ count, reached })),
  };
}
