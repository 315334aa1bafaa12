/** Uses a database for the first time from many places at once, closes, says which sockets there are, and ends by itself. */
import { writeSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { defineCollection, getStorageManager } from '../../src/index.js';

const [url] = process.argv.slice(2) as [string];
const Notes = defineCollection<{ text: string }>({ name: 'notes', fields: { text: 'string' } });
const sockets = (): number => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
const settings = { databases: { main: { url, pool: { max: 3 }, applicationName: 'first-uses' } } };

const use = async (text: string): Promise<string> => {
  const storage = await getStorageManager(settings, { environment: {} });
  return (await storage.collection(Notes).save({ text })).value.text;
};
const texts = Array.from({ length: 20 }, (_, i) => String(i));
const saved = await Promise.all(texts.map(use));
const storage = await getStorageManager();
const open = sockets();
const count = await storage.collection(Notes).count();
await storage.close();
// The other side's goodbye to a socket that was closed may take a moment; nothing is waited for that keeps it open.
for (const end = performance.now() + 30_000; sockets() > 0 && performance.now() < end;) await setImmediate();
writeSync(1, JSON.stringify({ saved: saved.length, count, open, left: sockets() }));
