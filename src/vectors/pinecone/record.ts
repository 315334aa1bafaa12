/** Records as the service keeps them. */
import type { PineconeRecord, RecordMetadata, RecordSparseValues } from '@pinecone-database/pinecone';
import { VECTOR_LIMITS as LIMITS } from '../codec/limits.js';
import type {
  FetchedVector,
  FlatMetadata,
  MetadataLeaf,
  StoredSparse,
  StoredVector,
  VectorInclude,
  VectorSchema,
} from '../provider.js';
import { decodeId, encodeId, idFault } from './names.js';

/** Where a record's text is kept; hosts have no keys that begin with `qm`. */
const TEXT = 'qm.text';
/** Significant digits that tell any two numbers of float32 apart; as float64 they would be written with 17. */
const FLOAT_DIGITS = 9;

/**
 * The key that a list is kept under. A filter of the service takes a list for its elements, so that under the same key
 * a list would equal a scalar.
 */
export function listKey(key: string): string {
  return `${key}[]`;
}

export type RecordHead = Pick<PineconeRecord, 'id' | 'metadata'>;

/** A record without its vectors. */
export function encodeHead({ id, metadata, text }: StoredVector, component: string): RecordHead {
  return { id: encodeId(id, component), metadata: encodeMetadata(metadata, text) };
}

/** What keeps a record out of the service: an id, or metadata with their text, that are too long. */
export function recordFault(_schema: VectorSchema, { id, metadata, text }: StoredVector): string | undefined {
  const bytes = Buffer.byteLength(JSON.stringify(encodeMetadata(metadata, text)));
  if (bytes <= LIMITS.metadataBytes) return idFault(id);
  return `has metadata and text of ${bytes} bytes, of which Pinecone keeps ${LIMITS.metadataBytes} together`;
}

/** The vectors of a record; a list that would be empty is refused. */
export function encodeVectors({ vector, sparse }: StoredVector): Pick<PineconeRecord, 'values' | 'sparseValues'> {
  return {
    ...(vector.length === 0 ? {} : { values: encodeValues(vector) }),
    ...(sparse === undefined ? {} : { sparseValues: encodeSparse(sparse) }),
  };
}

export function encodeSparse({ indices, values }: StoredSparse): RecordSparseValues {
  return { indices: [...indices], values: encodeValues(values) };
}

/** Rounded to what float32 can tell apart, which makes a request a third smaller. */
function encodeValues(vector: Float32Array): number[] {
  return Array.from(vector, (value) => Number(value.toPrecision(FLOAT_DIGITS)));
}

function encodeMetadata(metadata: FlatMetadata, text: string | undefined): RecordMetadata {
  const leaves = Object.entries(metadata).map(([key, leaf]): [string, RecordMetadata[string]] => {
    if (typeof leaf !== 'object') return [key, leaf];
    // An empty list would be lost.
    return [listKey(key), leaf.length === 0 ? true : [...leaf]];
  });
  if (text !== undefined) leaves.push([TEXT, text]);
  return Object.fromEntries(leaves);
}

export function decodeVector(record: PineconeRecord, include: VectorInclude): FetchedVector {
  const { id, values, sparseValues, metadata = {} } = record;
  const { [TEXT]: text, ...leaves } = metadata;
  return {
    id: decodeId(id),
    ...(include.vector && values !== undefined ? { vector: Float32Array.from(values) } : {}),
    ...(include.vector && sparseValues !== undefined ? { sparse: decodeSparse(sparseValues) } : {}),
    ...(include.metadata ? { metadata: decodeMetadata(leaves) } : {}),
    ...(include.text && typeof text === 'string' ? { text } : {}),
  };
}

/** In which order the service gives the indices is not documented. */
function decodeSparse({ indices, values }: RecordSparseValues): StoredSparse {
  const order = [...indices.keys()].sort((a, b) => indices[a]! - indices[b]!);
  return {
    indices: Uint32Array.from(order, (i) => indices[i]!),
    values: Float32Array.from(order, (i) => values[i]!),
  };
}

function decodeMetadata(leaves: RecordMetadata): FlatMetadata {
  return Object.fromEntries(
    Object.entries(leaves).map(([key, leaf]): [string, MetadataLeaf] => {
      if (!key.endsWith('[]')) return [key, leaf];
      return [key.slice(0, -2), Array.isArray(leaf) ? leaf : []];
    }),
  );
}
