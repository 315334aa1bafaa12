/** The limits that hold on every provider, in bytes of UTF-8 unless said otherwise: what one holds, all can hold. */
export const VECTOR_LIMITS = {
  dimension: 20_000,
  /** Components of a sparse vector that are not zero. */
  sparseValues: 1_000,
  sparseIndex: 2 ** 32 - 1,
  /** Length of a vector, rows and queries alike: outside of it servers compute with infinity or with zero. */
  minNorm: 1e-15,
  maxNorm: 1e15,
  idBytes: 512,
  namespaceBytes: 255,
  keyBytes: 128,
  metadataDepth: 8,
  metadataLeaves: 256,
  /** Of the flat metadata as JSON. */
  metadataBytes: 40_960,
  textBytes: 1_048_576,
  /** Of a text that is searched: what PostgreSQL makes of it, a megabyte at most, is up to three times as large. */
  searchedTextBytes: 262_144,
  /** Of one word of it, as PostgreSQL has it; longer ones are not found. */
  wordBytes: 2_046,
  /** Of a query. */
  words: 256,
  fields: 64,
  topK: 10_000,
  /** In a collection of sparse vectors alone. */
  sparseTopK: 1_000,
  pageItems: 1_000,
  /** Ids of one fetch or delete. */
  ids: 10_000,
  batchItems: 1_000,
  batchBytes: 8 * 1_048_576,
} as const;
