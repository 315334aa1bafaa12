/**
 * Opens each database that a line of its input names, says so, waits for a line that lets it begin, and uses two
 * collections. Then it says what went wrong, or that nothing did, as a line of JSON.
 */
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { inspect } from 'node:util';
import { defineCollection, openStorage } from '../../src/index.js';

const Orders = defineCollection<{ status: string; number: number; note?: string }>({
  name: 'orders',
  fields: { status: 'string', number: 'number' },
  indexes: [{ keys: ['status', ['number', 'desc']] }],
  unique: [{ name: 'byNumber', fields: ['number'] }],
  text: ['note'],
});
const Bills = defineCollection<{ due: Date }>({ name: 'bills', fields: { due: 'date' }, indexes: [{ keys: ['due'] }] });

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (word: unknown): void => void writeSync(1, `${JSON.stringify(word)}\n`);

async function use(url: string): Promise<void> {
  // Fifty at once have few processors.
  const timeout = 120_000;
  const options = url.startsWith('postgres') ? { pool: { max: 1, connectTimeout: timeout } } : {};
  await using storage = await openStorage(
    { databases: { main: { url, ...options } }, lifecycle: { openTimeout: timeout } },
    { environment: {} },
  );
  say('open');
  await lines.next();
  await storage.collection(Orders).save({ status: 'open', number: process.pid }, { timeout });
  await storage.collection(Bills).save({ due: new Date() }, { timeout });
}

for (let line = await lines.next(); line.done !== true; line = await lines.next())
  say(await use(line.value).then(() => '', inspect));
