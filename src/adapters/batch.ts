/** The writes of one decision of a store: all of them or none. */
import type { JsonObject, RecordBackend, Write, WriteResult } from '../backends/backend.js';
import { jsonBytes } from '../backends/value.js';
import type { CollectionDefinition } from '../collection/definition.js';
import type { StoredRecord } from '../collection/record-codec.js';
import type { OperationContext } from '../component.js';
import { invalid, StorageError, UnsupportedError } from '../errors.js';
import { normalize } from '../filter/normalize.js';
import { parseFilter } from '../filter/syntax.js';

export interface Pending {
  readonly write: Write;
  /** The same with fewer bytes, for a batch that has too many. */
  readonly smaller?: (() => Write | undefined) | undefined;
  /** @returns the error of a result that is none to go on with. */
  readonly failure: (result: WriteResult, operation: string) => StorageError | undefined;
  readonly done?: ((result: WriteResult) => void) | undefined;
}

/** An atomic batch lost against another writer, or met a record that is there or gone: the decision is to be made again. */
const LOST: ReadonlySet<string> = new Set(['conflict', 'exists', 'missing', 'unmatched']);

export class Batch {
  private readonly pending: Pending[] = [];
  private readonly inserted = new Set<string>();
  /** The values of the batch have no more bytes together than this. */
  private bound = 0;

  constructor(private readonly backend: RecordBackend) {}

  /** @param bytes its value has no more */
  push(pending: Pending, bytes: number): void {
    const { collection, id, kind } = pending.write;
    // Each backend would take it in its own way, some of them after they have written.
    const key = `${collection.name}\n${id}`;
    if (kind === 'insert' && this.inserted.has(key)) throw new StorageError('INTERNAL', `Inserted twice: ${key}`);
    if (kind === 'insert') this.inserted.add(key);
    this.pending.push(pending);
    this.bound += bytes;
  }

  /**
   * @returns the error of a condition that failed: nothing is written, and the decision may be made again
   * @throws `VALIDATION` for too many or too large writes, `UNSUPPORTED` where they are not written all or none, before any I/O
   */
  async write(tenant: string, operation: string, context: OperationContext): Promise<StorageError | undefined> {
    const { pending, backend } = this;
    if (pending.length === 0) return undefined;
    const results = await backend.write({ tenant }, this.writes(operation), context);
    for (const [i, result] of results.entries()) {
      const { failure, done } = pending[i]!;
      done?.(result);
      const error = failure(result, operation);
      if (error === undefined) continue;
      if (LOST.has(result.status)) return error;
      throw error;
    }
    return undefined;
  }

  private writes(operation: string): Write[] {
    const { pending, backend, bound } = this;
    const { maxBatchItems, maxBatchBytes, batch } = backend.capabilities;
    const writes = pending.map(({ write }) => write);
    if (writes.length > maxBatchItems)
      throw invalid('changes', writes, `at most ${maxBatchItems} records to change at once, not ${writes.length}`);
    if (writes.length > 1 && batch !== 'atomic')
      throw new UnsupportedError(`${operation}: ${backend.name} has no atomic batches`, { operation });
    if (bound <= maxBatchBytes || bytesOf(writes) <= maxBatchBytes) return writes;
    const smaller = pending.map(({ write, smaller }) => smaller?.() ?? write);
    if (bytesOf(smaller) > maxBatchBytes)
      throw invalid('changes', writes, `at most ${maxBatchBytes} bytes of JSON to change at once`);
    return smaller;
  }
}

function bytesOf(writes: readonly Write[]): number {
  return writes.reduce((sum, write) => sum + ('value' in write ? jsonBytes(write.value) : bytesOfChanges(write)), 0);
}

function bytesOfChanges(write: Exclude<Write, { readonly value: unknown }>): number {
  return write.kind === 'patch' ? jsonBytes(write.changes) : 0;
}

/**
 * The members in which a record's next value differs, as a patch of that record alone; `undefined` where none does.
 * @param value made of the record's own: what stays is the same in it
 */
export function patchTo<T extends object>(
  { schema, domain }: CollectionDefinition<T>,
  { id, version, createdAt, value: was }: StoredRecord<T>,
  value: T,
  encoded: JsonObject,
): Write | undefined {
  const member = (of: T, key: string): unknown => (of as Readonly<Record<string, unknown>>)[key];
  const set = Object.fromEntries(Object.entries(encoded).filter(([key]) => member(value, key) !== member(was, key)));
  const unset = Object.keys(was).filter((key) => !Object.hasOwn(encoded, key));
  if (Object.keys(set).length + unset.length === 0) return undefined;
  const same = { ifVersion: version, if: normalize(parseFilter({ createdAt }, domain)) };
  return { collection: schema, kind: 'patch', id, changes: { set, unset }, ...same };
}
