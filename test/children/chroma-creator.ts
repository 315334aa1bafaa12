/** Makes a vector collection on a Chroma server and writes one record to it, when its parent says so. */
import { openStorage } from '../../src/index.js';

const [url, serverDatabase, id] = process.argv.slice(2) as [string, string, string];
await using storage = await openStorage(
  { databases: { main: 'memory:' }, vectors: { default: 'chroma', chroma: { url, serverDatabase } } },
  { environment: {} },
);
const vectors = storage.vectors();
process.stdout.write('ready\n');
await new Promise((resolve) => process.stdin.once('data', resolve));
await vectors.createCollection({ name: 'raced', dimension: 2, fields: { by: 'string' } });
await vectors.upsert('raced', [{ id, vector: [1, 2], metadata: { by: id } }], { namespace: 'new' });
process.stdout.write('done\n');
process.stdin.destroy();
