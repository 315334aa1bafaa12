/** Asks for an index of the collection `orders`: `[url]`. */
import { defineCollection, openStorage } from '../../src/index.js';

const [url] = process.argv.slice(2) as [string];
const Orders = defineCollection<{ n: number; s: string }>({
  name: 'orders',
  id: 'given',
  fields: { n: 'number', s: 'string' },
  indexes: [{ keys: ['s', 'n'] }],
});
await using storage = await openStorage({ databases: { main: url } }, { environment: {} });
await storage.collection(Orders).count();
