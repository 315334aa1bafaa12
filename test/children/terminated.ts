/**
 * A service that is told to end, three times: `[url, applicationName, moment]`. `opening`: while it opens; `leak`: with a
 * client that was taken and never given back, and a transaction that hangs.
 */
import { writeSync } from 'node:fs';
import type pg from 'pg';
import { defineCollection, isStorageError } from '../../src/index.js';
import { StorageManager } from '../../src/manager.js';
import { registry } from '../../src/registry.js';
import { loadSettings } from '../../src/settings.js';

const [url, applicationName, moment] = process.argv.slice(2) as [string, string, 'opening' | 'leak'];
const Notes = defineCollection<{ text: string }>({ name: 'notes' });
const overrides = { databases: { main: { url, applicationName, pool: { max: 3 } } } };
const storage = new StorageManager({
  registry,
  settings: await loadSettings({ registry, environment: {}, overrides }),
});
const say = (line: string): void => void writeSync(1, `${line}\n`);

// It may be closed before the third, and then nothing else keeps it.
const untilToldThrice = setInterval(() => undefined, 1_000);
let times = 0;
process.on('SIGTERM', () => {
  say(`told ${++times}`);
  void storage.close({ deadline: 300 }).then(() => say(`closed ${storage.state}`));
  if (times < 3) return;
  say('told three times');
  clearInterval(untilToldThrice);
});
const opening = storage.open();
if (moment === 'opening') say('ready');
await opening.then(
  () => say('open'),
  (error: unknown) => say(`not open: ${isStorageError(error) ? error.code : String(error)}`),
);
if (moment === 'leak') {
  await storage.collection(Notes).save({ text: 'a' });
  await storage.sql<pg.Pool>().connect();
  const hanging = storage.transaction(async (tx) => {
    await tx.collection(Notes).save({ text: 'never' });
    say('ready');
    await new Promise(() => undefined);
  });
  await hanging.catch((error: unknown) => say(`hanging: ${isStorageError(error) ? error.code : String(error)}`));
}
