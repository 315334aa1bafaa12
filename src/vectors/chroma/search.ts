/**
 * Searches. The server answers from a graph that not every record can be reached in: among many vectors that are nearly
 * parallel, or by inner product among vectors of very different lengths, even a filter that matches a few records may find
 * none of them, without an error. What an answer lacks is compared here.
 */
import type { Where } from 'chromadb';
import type { OperationContext } from '../../component.js';
import { scoreOf } from '../codec/score.js';
import type { ScoredVector, VectorSchema, VectorSearch } from '../provider.js';
import type { Connection } from './connection.js';
import { decodeRow, fieldsOf } from './record.js';
import { getRecords, matchingIds, readNumber, readRows } from './records.js';
import { scoreOfDistance } from './score.js';

/** Numbers of vectors that one answer holds, about 4 MB of text. */
const PAGE_NUMBERS = 400_000;
const PAGE_RECORDS = 1_000;

export async function searchRecords(
  connection: Connection,
  id: string,
  where: Where | undefined,
  schema: VectorSchema,
  request: VectorSearch,
  context: OperationContext,
): Promise<ScoredVector[]> {
  const found = await query(connection, id, where, schema, request, context);
  if (found.length >= request.topK) return found;
  const known = new Set(found.map((hit) => hit.id));
  const matching = await matchingIds(connection, id, where, context, 'search');
  const missing = matching.filter((own) => !known.has(own));
  return missing.length === 0 ? found : complete(connection, id, where, schema, request, found, missing, context);
}

function query(
  connection: Connection,
  id: string,
  where: Where | undefined,
  { metric }: VectorSchema,
  { vector, topK, include }: VectorSearch,
  context: OperationContext,
): Promise<ScoredVector[]> {
  // The server subtracts inner products from 1, which leaves nothing of those of a short vector: it gets one of length 1 to 2.
  const scale = metric === 'dot' ? powerOfTwo(Math.sqrt(scoreOf('dot', vector, vector))) : 1;
  const scaled = scale === 1 ? vector : vector.map((number) => number / scale);
  return connection.call(context, 'search', async (client) => {
    const answer = await client.collection(id).query({
      queryEmbeddings: [Array.from(scaled)],
      nResults: topK,
      include: [...fieldsOf(include), 'distances'],
      ...(where === undefined ? {} : { where }),
    });
    const { ids, embeddings, metadatas, documents, distances } = answer;
    const rows = readRows(ids?.[0], embeddings?.[0], metadatas?.[0], documents?.[0], include);
    return rows.map((row, i) => ({
      ...decodeRow(row, include),
      score: scoreOfDistance(metric, readNumber(distances?.[0]?.[i])) * scale,
    }));
  });
}

/** The greatest that is not above: what is multiplied by it keeps its digits. */
function powerOfTwo(number: number): number {
  return 2 ** Math.floor(Math.log2(number));
}

/** The closest of what was found and of what else matched when the ids were read, where it still does. */
async function complete(
  connection: Connection,
  id: string,
  where: Where | undefined,
  { metric, dimension }: VectorSchema,
  { vector, topK, include }: VectorSearch,
  found: readonly ScoredVector[],
  missing: readonly string[],
  context: OperationContext,
): Promise<ScoredVector[]> {
  const limit = Math.max(1, Math.min(PAGE_RECORDS, Math.floor(PAGE_NUMBERS / dimension)));
  let closest = [...found];
  for (let start = 0; start < missing.length; start += limit) {
    const selection = { ids: missing.slice(start, start + limit), ...(where === undefined ? {} : { where }) };
    const part = await getRecords(connection, id, selection, { ...include, vector: true }, context, 'search');
    for (const { vector: own, ...rest } of part)
      if (own !== undefined)
        closest.push({ ...rest, ...(include.vector ? { vector: own } : {}), score: scoreOf(metric, own, vector) });
    closest = closest.sort((a, b) => b.score - a.score).slice(0, topK);
  }
  return closest;
}
