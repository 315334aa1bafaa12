/** Vectors in files, beside the library's own providers: the import registers the provider. */
import { openStorage } from 'quartermaster';
import './file.js';

await using storage = await openStorage({
  databases: { main: 'memory:' },
  vectors: { file: { directory: './.vectors' } },
});
const vectors = storage.vectors('file');
await vectors.createCollection({ name: 'colours', dimension: 3 });
await vectors.upsert('colours', [
  { id: 'red', vector: [1, 0.1, 0.1], metadata: { warm: true } },
  { id: 'orange', vector: [1, 0.6, 0.1], metadata: { warm: true } },
  { id: 'blue', vector: [0.1, 0.1, 1], metadata: { warm: false } },
]);
const hits = await vectors.search('colours', { vector: [1, 0.5, 0], filter: { warm: true } });
console.log(hits.map(({ id, score }) => `${id} ${score.toFixed(3)}`).join(', '));
