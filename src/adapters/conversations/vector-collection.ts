/** The vector collection of messages: one for all conversations, made when the first vector comes. */
import { isStorageError, StorageError, foreignErrorName } from '../../errors.js';
import { VECTOR_LIMITS } from '../../vectors/codec/limits.js';
import { encodeMetadata } from '../../vectors/codec/metadata.js';
import { checkVector } from '../../vectors/codec/values.js';
import type { VectorStore } from '../../vectors/vector-store.js';
import type { StoreHost } from '../host.js';

const FIELDS = { conversationId: 'string', messageId: 'string', provider: 'string', createdAt: 'date' } as const;

/** @param metadata as the collection is to keep them @throws `VALIDATION` for what no provider can keep */
export function checkVectorRecord(vector: readonly number[], metadata: object, key: string): void {
  checkVector(vector, vector.length, `${key}.embedding`);
  encodeMetadata(metadata, FIELDS, VECTOR_LIMITS.metadataBytes, `${key}.metadata`);
}

/** Which vectors: the conditions of a filter over the fields. */
export type VectorConditions = Readonly<Record<string, string | { readonly $in: readonly string[] }>>;

/** Does it again after making the collection when it is not there. */
export async function inVectorCollection<R>(host: StoreHost, dimension: number, work: () => Promise<R>): Promise<R> {
  try {
    return await work();
  } catch (error) {
    if (!isStorageError(error, 'NOT_FOUND')) throw error;
    const name = host.settings.conversations.vectors;
    await host.vectors().createCollection({ name, dimension, metric: 'cosine', fields: FIELDS });
    return work();
  }
}

/** As `work` gives; where there is no collection yet, there are no vectors. */
export async function orNone<R>(none: R, work: () => Promise<R>): Promise<R> {
  try {
    return await work();
  } catch (error) {
    if (!isStorageError(error, 'NOT_FOUND')) throw error;
    return none;
  }
}

/**
 * Deletes vectors with what they belong to, inside a transaction: in it where the provider takes part in it, else after its
 * commit; what goes wrong then is reported, and the vectors stay, of messages that no search finds.
 */
export async function dropVectors(host: StoreHost, filter: VectorConditions): Promise<void> {
  const drop = (vectors: VectorStore): Promise<unknown> =>
    orNone(undefined, () => vectors.delete(host.settings.conversations.vectors, { filter: filter as never }));
  let joined: VectorStore | undefined;
  try {
    joined = host.vectors();
  } catch (error) {
    if (!isStorageError(error)) throw error;
  }
  if (joined !== undefined) return void (await drop(joined));
  host.onCommit(async () => {
    try {
      await drop(host.vectorsOutside());
    } catch (error) {
      host.report(asStorageError(error));
    }
  });
}

function asStorageError(error: unknown): StorageError {
  if (isStorageError(error)) return error;
  const message = `The vectors of deleted messages could not be deleted (${foreignErrorName(error)})`;
  return new StorageError('INTERNAL', message, { component: 'conversations', operation: 'dropVectors', cause: error });
}
