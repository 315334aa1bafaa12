/** Leaves two messages in the outbox of a database, begins to deliver the first, and never ends: `[url]`. */
import { writeSync } from 'node:fs';
import { openStorage } from '../../src/index.js';

const [url] = process.argv.slice(2) as [string];
const storage = await openStorage({ databases: { main: url } }, { environment: {} });
await storage.transaction(async (tx) => {
  await tx.outbox.enqueue({ topic: 'mail', key: 'ann', payload: 1 });
  await tx.outbox.enqueue({ topic: 'mail', key: 'ann', payload: 2 });
});
storage.outbox.relay({
  handlers: {
    mail: ({ payload }, { token }) => {
      writeSync(1, `${payload as number} ${token}\n`);
      return new Promise(() => undefined);
    },
  },
  lease: 4_000,
});
