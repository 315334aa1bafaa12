/**
 * A relay of one database, which writes every message that it handles to standard output, with the time, which is that of
 * every process here. It says when it has its first one, hands over none before it is told to go, and ends when it is told.
 */
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as after } from 'node:timers/promises';
import { openStorage } from '../../src/index.js';

const [url] = process.argv.slice(2) as [string];
const storage = await openStorage({ databases: { main: url } }, { environment: {} });
let isAtWork = false;
let go = (): void => undefined;
const gone = new Promise<void>((resolve) => (go = resolve));
const relay = storage.outbox.relay({
  handlers: {
    mail: async ({ key, payload }) => {
      if (!isAtWork) writeSync(1, 'at-work\n');
      isAtWork = true;
      await gone;
      await after(2);
      writeSync(1, `delivered ${key} ${payload as number} ${process.hrtime.bigint()}\n`);
    },
  },
  concurrency: 4,
  batch: 5,
  poll: 20,
});
writeSync(1, 'ready\n');
createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'go') return go();
  void relay
    .stop()
    .then(() => storage.close())
    .then(() => process.exit(0));
});
