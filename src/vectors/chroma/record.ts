/**
 * Records as the server keeps them. Each carries the complete list of its leaves and their types under `qm.types`: the
 * server's upsert merges metadata instead of replacing them, and a collection may show lists of a deleted one, but neither
 * is in this list, so neither is read, nor matched by a filter.
 */
import type { Metadata } from 'chromadb';
import type { FetchedVector, FlatMetadata, MetadataLeaf, StoredVector, VectorInclude } from '../provider.js';

export const TYPES = 'qm.types';
/** In every list: a filter by it matches every record. */
export const ANY = '-';
/** Whether there is a text: an upsert without a document would keep the one before, so there is always one. */
const TEXT = 'd';

/** Number, string, boolean, list; an empty list is this token alone, because the server keeps none. */
export type LeafType = 'n' | 's' | 'b' | 'l' | 'e';
export const LEAF_TYPES: readonly LeafType[] = ['n', 's', 'b', 'l', 'e'];

export function token(type: LeafType, key: string): string {
  return `${type}:${key}`;
}

export function scalarType(value: unknown): 'n' | 's' | 'b' {
  return typeof value === 'number' ? 'n' : typeof value === 'boolean' ? 'b' : 's';
}

export interface Batch {
  readonly ids: string[];
  readonly embeddings: number[][];
  readonly metadatas: Metadata[];
  readonly documents: string[];
}

export function encodeBatch(records: readonly StoredVector[]): Batch {
  return {
    ids: records.map(({ id }) => id),
    embeddings: records.map(({ vector }) => Array.from(vector)),
    metadatas: records.map(encodeMetadata),
    documents: records.map(({ text }) => text ?? ''),
  };
}

function encodeMetadata({ metadata, text }: StoredVector): Metadata {
  const types = [ANY];
  if (text !== undefined) types.push(TEXT);
  const encoded: Metadata = {};
  for (const [key, leaf] of Object.entries(metadata)) {
    const type = typeof leaf !== 'object' ? scalarType(leaf) : leaf.length > 0 ? 'l' : 'e';
    types.push(token(type, key));
    if (type !== 'e') encoded[key] = typeof leaf === 'object' ? [...leaf] : leaf;
  }
  encoded[TYPES] = types;
  return encoded;
}

/** What the server is asked for, so that `include` can be answered. */
export function fieldsOf({ vector, metadata, text }: VectorInclude): ('embeddings' | 'metadatas' | 'documents')[] {
  return [
    ...(vector ? (['embeddings'] as const) : []),
    // They tell a text that is empty from none.
    ...(metadata || text ? (['metadatas'] as const) : []),
    ...(text ? (['documents'] as const) : []),
  ];
}

/** One record of an answer. */
export interface Row {
  readonly id: string;
  readonly embedding: unknown;
  readonly metadata: unknown;
  readonly document: unknown;
}

export function decodeRow({ id, embedding, metadata, document }: Row, include: VectorInclude): FetchedVector {
  const kept = (metadata ?? {}) as Readonly<Record<string, unknown>>;
  const types = Array.isArray(kept[TYPES]) ? (kept[TYPES] as string[]) : [];
  return {
    id,
    ...(include.vector && Array.isArray(embedding) ? { vector: Float32Array.from(embedding as number[]) } : {}),
    ...(include.metadata ? { metadata: decodeMetadata(types, kept) } : {}),
    ...(include.text && types.includes(TEXT) && typeof document === 'string' ? { text: document } : {}),
  };
}

function decodeMetadata(types: readonly string[], kept: Readonly<Record<string, unknown>>): FlatMetadata {
  const metadata: Record<string, MetadataLeaf> = {};
  for (const entry of types) {
    if (entry === ANY || entry === TEXT) continue;
    const key = entry.slice(2);
    metadata[key] = entry.startsWith('e:') ? [] : (kept[key] as MetadataLeaf);
  }
  return metadata;
}
