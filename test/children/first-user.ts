/** Opens a database, waits for the word to begin, and uses two collections: `[url]`. Prints what went wrong, if anything. */
import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { defineCollection, openStorage } from '../../src/index.js';

const [url] = process.argv.slice(2) as [string];
const Orders = defineCollection<{ status: string; number: number; note?: string }>({
  name: 'orders',
  fields: { status: 'string', number: 'number' },
  indexes: [{ keys: ['status', ['number', 'desc']] }],
  unique: [{ name: 'byNumber', fields: ['number'] }],
  text: ['note'],
});
const Bills = defineCollection<{ due: Date }>({ name: 'bills', fields: { due: 'date' }, indexes: [{ keys: ['due'] }] });

const options = url.startsWith('postgres') ? { pool: { max: 1 } } : {};
await using storage = await openStorage({ databases: { main: { url, ...options } } }, { environment: {} });
writeSync(1, 'open\n');
await once(process.stdin, 'data');
process.stdin.destroy();
const timeout = 120_000;
await storage.collection(Orders).save({ status: 'open', number: process.pid }, { timeout });
await storage.collection(Bills).save({ due: new Date() }, { timeout });
