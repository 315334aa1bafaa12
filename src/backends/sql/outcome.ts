/** Why a write was refused, from the record it met. The definition is the contract's, not the statement's. */
import { evaluate, recordSubject } from '../../filter/evaluate.js';
import type { JsonObject, Stored, Write, WriteResult } from '../backend.js';
import { applyPatch } from '../patch.js';
import { isSame } from '../plan.js';
import { changesTree, type PatchWrite } from './changes.js';

/** Whether the value that a patch makes is beyond the limit. */
type TooLarge = (write: PatchWrite, patched: JsonObject) => boolean;

/** The result of a write that did not happen; `undefined` when its conditions hold by now. @param met a live record. */
export function refusal(write: Write, met: Stored | undefined, tooLarge: TooLarge): WriteResult | undefined {
  switch (write.kind) {
    case 'insert':
      return met === undefined ? undefined : { status: 'exists', version: met.version };
    case 'put':
      return undefined;
    case 'replace':
    case 'delete':
      if (met === undefined) return { status: 'missing' };
      return isSame(write, met) ? undefined : { status: 'conflict', version: met.version };
    case 'patch': {
      if (met === undefined) return write.orInsert === undefined ? { status: 'missing' } : undefined;
      const patched = patch(write, met, tooLarge);
      return 'refused' in patched ? patched.refused : undefined;
    }
  }
}

/** What a patch makes of the record it met, or why it does not. */
export function patch(
  write: PatchWrite,
  met: Stored,
  tooLarge: TooLarge,
): { readonly value: JsonObject } | { readonly refused: WriteResult } {
  const { version, value } = met;
  if (!isSame(write, met)) return { refused: { status: 'conflict', version } };
  if (write.if !== undefined && !evaluate(write.if, recordSubject(met, write.collection.text)))
    return { refused: { status: 'unmatched', version } };
  const outcome = applyPatch(value, changesTree(write.changes));
  if (!outcome.ok) return { refused: { status: 'invalid', path: outcome.path, reason: outcome.reason } };
  if (tooLarge(write, outcome.value)) return { refused: { status: 'invalid', path: '', reason: 'too-large' } };
  return { value: outcome.value };
}
