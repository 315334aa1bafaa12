/**
 * Vectors through a `VectorStore` beside pgvector by hand, in one run: `npm run bench:vectors [-- write search recall]`, on the
 * server in `TEST_POSTGRES_URL`. Search and recall need the 20,000 embeddings of the folder in `BENCH_DATA`.
 */
import { print } from '../measure.js';
import { benchRecall } from './recall.js';
import { benchSearch } from './search.js';
import { benchWrites } from './write.js';

const asked = process.argv.slice(2);
const isAsked = (name: string): boolean => asked.length === 0 || asked.includes(name);

if (isAsked('write')) print('us', await benchWrites());
if (isAsked('search')) print('us', await benchSearch());
if (isAsked('recall')) await benchRecall();
