/**
 * Vectors through a `VectorStore` beside others, in one run: `npm run bench:vectors [-- write search recall langchain mastra chroma]`,
 * on the servers in `TEST_POSTGRES_URL` and `TEST_CHROMA_URL`. All but the writes need the 20,000 embeddings of the folder in
 * `BENCH_DATA`.
 */
import { print } from '../measure.js';
import { benchChroma } from './chroma.js';
import { benchBeside } from './peers/beside.js';
import { loadLangChain } from './peers/langchain.js';
import { loadMastra } from './peers/mastra.js';
import { benchPicture } from './picture.js';
import { benchRecall } from './recall.js';
import { benchSearch } from './search.js';
import { benchWrites } from './write.js';

const asked = process.argv.slice(2);
const isAsked = (name: string): boolean => asked.length === 0 || asked.includes(name);

if (isAsked('write')) print('us', await benchWrites());
if (isAsked('search')) print('us', await benchSearch());
if (isAsked('recall')) await benchRecall();
if (isAsked('langchain')) await benchBeside('LangChain', loadLangChain());
if (isAsked('mastra')) await benchBeside('Mastra', loadMastra());
if (isAsked('chroma')) print('us', await benchChroma(), 'its client');
// Writes a file of the documentation, so only when it is asked for.
if (asked.includes('picture')) await benchPicture();
