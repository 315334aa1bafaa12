/** A relay of one database, which writes every message that it handles to standard output, until the process is told to end. */
import { writeSync } from 'node:fs';
import { setTimeout as after } from 'node:timers/promises';
import { openStorage } from '../../src/index.js';

const [url] = process.argv.slice(2) as [string];
const storage = await openStorage({ databases: { main: url } }, { environment: {} });
const relay = storage.outbox.relay({
  handlers: {
    mail: async ({ key, payload }, { token }) => {
      await after(2);
      writeSync(1, `delivered ${key} ${payload as number} ${token}\n`);
    },
  },
  concurrency: 4,
  batch: 5,
  poll: 20,
});
writeSync(1, 'ready\n');
process.stdin.once('data', () => {
  void relay
    .stop()
    .then(() => storage.close())
    .then(() => process.exit(0));
});
