/** The limits that hold on every backend, in bytes of UTF-8 unless said otherwise. `docs/records.md` lists them. */
export const LIMITS = {
  depth: 64,
  keyBytes: 1_024,
  tenantBytes: 255,
  idBytes: 255,
  /** The default of a backend's `maxRecordBytes`. */
  recordBytes: 1_048_576,
  batchItems: 1_000,
  batchBytes: 8 * 1_048_576,
  indexedStringBytes: 512,
  /** A PostgreSQL btree entry ends at 2,704; the rest is for the row's own key parts. */
  indexEntryBytes: 2_600,
  pageItems: 1_000,
  /** A server that gets each of them as parameters takes 65,535. */
  patchPaths: 1_000,
} as const;
