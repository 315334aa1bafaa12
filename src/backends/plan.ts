/** What a write means for the record it meets. Backends that decide in this process use it; the others answer the same. */
import { evaluate, recordSubject } from '../filter/evaluate.js';
import type { JsonObject, SameRecord, Stored, Write, WriteResult } from './backend.js';
import { LIMITS } from './limits.js';
import { applyPatch, patchTree } from './patch.js';
import { jsonBytes } from './value.js';

export interface Planned {
  readonly result: WriteResult;
  /** The record after it, when the write can be made; `undefined` for a delete. */
  readonly row?: Stored | undefined;
}

/** The hard limit of a stored value, in bytes of its JSON. */
export const MAX_VALUE_BYTES = 2 * LIMITS.recordBytes;

const REFUSALS: ReadonlySet<string> = new Set(['exists', 'conflict', 'unmatched', 'invalid', 'missing']);

/** Whether a condition of the write failed. */
export function isRefused({ status }: WriteResult): boolean {
  return REFUSALS.has(status);
}

/** The results of a batch that is not written: its refusals, and `skipped` for the others. */
export function withSkipped(results: readonly WriteResult[]): WriteResult[] {
  return results.map((result) => (isRefused(result) ? result : { status: 'skipped' }));
}

/** Whether the record is the one that the write is for. */
export function isSame({ ifVersion, ifCreatedAt }: SameRecord, { version, createdAt }: Stored): boolean {
  if (ifVersion !== undefined && ifVersion !== version) return false;
  return ifCreatedAt === undefined || ifCreatedAt.getTime() === createdAt.getTime();
}

/** @param current the live record under the write's key. */
export function planWrite(current: Stored | undefined, tenant: string, write: Write, now: Date): Planned {
  const row = (version: number, value: JsonObject, createdAt: Date, expiresAt: Date | undefined): Stored => {
    const base = { tenant, id: write.id, version, createdAt, updatedAt: now, value };
    return expiresAt === undefined ? base : { ...base, expiresAt };
  };
  if (write.kind === 'insert' || write.kind === 'put') {
    if (current !== undefined && write.kind === 'insert')
      return { result: { status: 'exists', version: current.version } };
    const createdAt = current?.createdAt ?? write.createdAt ?? now;
    return written(row((current?.version ?? 0) + 1, write.value, createdAt, write.expiresAt));
  }
  if (current === undefined) {
    if (write.kind !== 'patch' || write.orInsert === undefined) return { result: { status: 'missing' } };
    return patched(row(1, write.orInsert, now, write.expiresAt ?? undefined));
  }
  if (!isSame(write, current)) return { result: { status: 'conflict', version: current.version } };
  if (write.kind === 'delete') return { result: { status: 'deleted', record: current } };
  if (write.kind === 'replace')
    return written(row(current.version + 1, write.value, current.createdAt, write.expiresAt));
  if (write.if !== undefined && !evaluate(write.if, recordSubject(current, write.collection.text)))
    return { result: { status: 'unmatched', version: current.version } };
  const tree = patchTree(write.changes);
  if ('overlap' in tree) throw new TypeError(`Two changes at ${tree.overlap}`);
  const outcome = applyPatch(current.value, tree);
  if (!outcome.ok) return { result: { status: 'invalid', path: outcome.path, reason: outcome.reason } };
  if (jsonBytes(outcome.value) > MAX_VALUE_BYTES)
    return { result: { status: 'invalid', path: '', reason: 'too-large' } };
  const expiresAt = write.expiresAt === undefined ? current.expiresAt : (write.expiresAt ?? undefined);
  return patched(row(current.version + 1, outcome.value, current.createdAt, expiresAt));
}

function written(row: Stored): Planned {
  return { result: { status: 'written', version: row.version, createdAt: row.createdAt }, row };
}

function patched(row: Stored): Planned {
  return { result: { status: 'patched', record: row }, row };
}
