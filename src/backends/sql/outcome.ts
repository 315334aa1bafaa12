/** Why a write was refused, from the record it met. The definition is the contract's, not the statement's. */
import { evaluate, recordSubject } from '../../filter/evaluate.js';
import type { Stored, Write, WriteResult } from '../backend.js';
import { applyPatch } from '../patch.js';
import { changesTree, MAX_VALUE_BYTES, patchBytes, type PatchWrite } from './patch.js';

/** A live record, and the bytes of its value as the server counts them. */
export interface Met {
  readonly record: Stored;
  readonly bytes: number;
}

/** The result of a write that did not happen; `undefined` when its conditions hold by now. */
export function refusal(write: Write, met: Met | undefined): WriteResult | undefined {
  switch (write.kind) {
    case 'insert':
      return met === undefined ? undefined : { status: 'exists', version: met.record.version };
    case 'put':
      return undefined;
    case 'replace':
    case 'delete':
      if (met === undefined) return { status: 'missing' };
      return versionRefusal(write.ifVersion, met.record);
    case 'patch':
      if (met === undefined) return write.orInsert === undefined ? { status: 'missing' } : undefined;
      return versionRefusal(write.ifVersion, met.record) ?? patchRefusal(write, met);
  }
}

function versionRefusal(ifVersion: number | undefined, { version }: Stored): WriteResult | undefined {
  return ifVersion === undefined || ifVersion === version ? undefined : { status: 'conflict', version };
}

function patchRefusal(write: PatchWrite, { record, bytes }: Met): WriteResult | undefined {
  if (write.if !== undefined && !evaluate(write.if, recordSubject(record, write.collection.text)))
    return { status: 'unmatched', version: record.version };
  const outcome = applyPatch(record.value, changesTree(write.changes));
  if (!outcome.ok) return { status: 'invalid', path: outcome.path, reason: outcome.reason };
  if (bytes + patchBytes(write.changes) > MAX_VALUE_BYTES) return { status: 'invalid', path: '', reason: 'too-large' };
  return undefined;
}
