/** A process that is killed in the midst of a delivery: what it had begun is delivered by the next one. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openStorage } from '../src/index.js';
import { pgliteIn } from './support/pglite-memory.js';

const CHILD = fileURLToPath(new URL('./children/outbox-relay.js', import.meta.url));

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'quartermaster-outbox-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

test('a killed process loses no message, and its claim runs out', async () => {
  const url = pgliteIn(join(directory, 'data'));
  const child = spawn(process.execPath, [CHILD, url], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const [payload, token] = line.toString().trim().split(' ').map(Number);
  expect(payload).toBe(1);
  child.kill('SIGKILL');
  await exit;

  await using storage = await openStorage({ databases: { main: url } }, { environment: {} });
  const seen: { payload: unknown; attempt: number; token: number }[] = [];
  await new Promise<void>((resolve) => {
    storage.outbox.relay({
      handlers: {
        mail: async (message, { attempt, token: later }) => {
          seen.push({ payload: message.payload, attempt, token: later });
          if (seen.length === 2) resolve();
        },
      },
      poll: 50,
    });
  });
  expect(seen).toMatchObject([
    { payload: 1, attempt: 2 },
    { payload: 2, attempt: 1 },
  ]);
  expect(seen[0]!.token).toBeGreaterThan(token!);
});
