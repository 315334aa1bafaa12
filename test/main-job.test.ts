/** The example's command line: what is wrong is told in one line, before anything is opened. */
import { expect, test } from '@jest/globals';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PROJECT } from './support/project.js';
import { run } from './support/run.js';

test.each([
  [['--top', '0'], '--top: expected a whole number from 1 to 100, got "0"'],
  [['--query', 'abc'], '--query: expected a whole number from 0 to 19, got "abc"'],
  [['--query', '20'], '--query: expected a whole number from 0 to 19, got "20"'],
  [['--port', '65536'], '--port: expected a whole number from 0 to 65535, got "65536"'],
  [['--bottom'], "Unknown option '--bottom' (known: --serve, --port, --query, --top)"],
])('%j', async (given, line) => {
  const directory = await mkdtemp(join(tmpdir(), 'main-job-'));
  const program = join(PROJECT, 'build', 'examples', 'main-job', 'main.js');
  expect(await run(process.execPath, [program, ...given], directory, 60_000)).toEqual({ code: 2, output: `${line}\n` });
  expect(await readdir(directory)).toEqual([]);
  await rm(directory, { recursive: true });
});
