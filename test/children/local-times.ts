/** Adds messages to a SQLite database and pages through them by their times, both ways; prints what it was given as JSON. */
import { writeSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { openStorage } from '../../src/index.js';

const [url, ...times] = process.argv.slice(2) as [string, ...string[]];
await using storage = await openStorage({ databases: { main: { url } } }, { environment: {} });
const { conversations } = storage;
for (const createdAt of times) await conversations.addMessage(randomUUID(), { content: createdAt, createdAt });
const page = (after?: string) => conversations.queryMessages({ order: 'asc', limit: 1, after });
const pages = [await page()];
for (let { next } = pages[0]!; next !== undefined; { next } = pages.at(-1)!) pages.push(await page(next));
const back = [pages.at(-1)!];
for (let { previous } = back[0]!; previous !== undefined; { previous } = back.at(-1)!) back.push(await page(previous));
const [forward, backward] = [pages, back].map((all) => all.map(({ items }) => items[0]!.createdAt));
const { items: until } = await conversations.queryMessages({ until: times.at(-1), order: 'asc' });
writeSync(1, JSON.stringify({ offset: new Date(0).getTimezoneOffset(), forward, backward, until: until.length }));
