/** Requests about the records of one part. */
import type { Where } from 'chromadb';
import type { OperationContext } from '../../component.js';
import { isStorageError } from '../../errors.js';
import type { FetchedVector, StoredVector, VectorInclude } from '../provider.js';
import type { Connection } from './connection.js';
import { ChromaFault } from './fault.js';
import { decodeRow, encodeBatch, fieldsOf, type Row } from './record.js';

/** Records that one request deletes: each then ends well before it is given up. */
const DELETE_PAGE = 5_000;

/** A batch that is too large for the server, or for what is before it, is halved. */
export async function upsertRecords(
  connection: Connection,
  id: string,
  records: readonly StoredVector[],
  context: OperationContext,
): Promise<void> {
  try {
    await connection.call(context, 'upsert', (client) => client.collection(id).upsert(encodeBatch(records)));
  } catch (error) {
    if (records.length === 1 || !isStorageError(error, 'VALIDATION') || error.details['status'] !== 413) throw error;
    const half = Math.ceil(records.length / 2);
    await upsertRecords(connection, id, records.slice(0, half), context);
    await upsertRecords(connection, id, records.slice(half), context);
  }
}

export interface Selection {
  readonly ids?: string[];
  readonly where?: Where;
  readonly limit?: number;
  readonly offset?: number;
}

/** In the order of first insertion. */
export function getRecords(
  connection: Connection,
  id: string,
  selection: Selection,
  include: VectorInclude,
  context: OperationContext,
  operation: string,
): Promise<FetchedVector[]> {
  return connection.call(context, operation, async (client) => {
    const answer = await client.collection(id).get({ ...selection, include: fieldsOf(include) });
    const { ids, embeddings, metadatas, documents } = answer;
    return readRows(ids, embeddings, metadatas, documents, include).map((row) => decodeRow(row, include));
  });
}

/** All in one request: the server's pages are positions, which a deletion between two requests shifts. */
export async function matchingIds(
  connection: Connection,
  id: string,
  where: Where | undefined,
  context: OperationContext,
  operation: string,
): Promise<string[]> {
  const nothing = { vector: false, metadata: false, text: false };
  const selection = where === undefined ? {} : { where };
  const records = await getRecords(connection, id, selection, nothing, context, operation);
  return records.map((record) => record.id);
}

export async function countRecords(
  connection: Connection,
  id: string,
  where: Where | undefined,
  context: OperationContext,
): Promise<number> {
  if (where === undefined)
    return connection.call(context, 'count', async (client) => readNumber(await client.collection(id).count()));
  return (await matchingIds(connection, id, where, context, 'count')).length;
}

/** Not with a count: the server counts ids that are not there. */
export async function deleteIds(
  connection: Connection,
  id: string,
  ids: readonly string[],
  context: OperationContext,
): Promise<void> {
  await connection.call(context, 'delete', (client) => client.collection(id).delete({ ids: [...ids] }));
}

/** Everything that matches, page by page. `undefined` where an answer was lost: what it deleted is not known. */
export async function deleteMatching(
  connection: Connection,
  id: string,
  where: Where,
  context: OperationContext,
  operation: string,
): Promise<number | undefined> {
  let total = 0;
  let isCertain = true;
  for (;;) {
    const deleted = await connection.call(context, operation, async (client, { number }) => {
      if (number > 1) isCertain = false;
      return readNumber((await client.collection(id).delete({ where, limit: DELETE_PAGE })).deleted);
    });
    total += deleted;
    if (deleted < DELETE_PAGE) return isCertain ? total : undefined;
  }
}

/** @throws a fault for an answer that does not fit what was asked: something else than the server gave it. */
export function readRows(
  ids: unknown,
  embeddings: unknown,
  metadatas: unknown,
  documents: unknown,
  { vector, metadata, text }: VectorInclude,
): Row[] {
  if (!isTexts(ids)) throw malformed();
  const column = (values: unknown, isAsked: boolean): readonly unknown[] => {
    if (!isAsked) return [];
    if (!Array.isArray(values) || values.length !== ids.length) throw malformed();
    return values;
  };
  const vectors = column(embeddings, vector);
  const kept = column(metadatas, metadata || text);
  const texts = column(documents, text);
  return Array.from(ids, (id, i) => ({ id, embedding: vectors[i], metadata: kept[i], document: texts[i] }));
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

export function readNumber(value: unknown): number {
  if (typeof value !== 'number') throw malformed();
  return value;
}

function malformed(): ChromaFault {
  return new ChromaFault(undefined, undefined, 'its answer does not have the form that was asked for');
}
