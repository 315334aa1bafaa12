/** The changes of a patch, and the limit of what they may make. */
import { invalid } from '../../errors.js';
import type { PatchChanges, Write } from '../backend.js';
import { patchTree, type PatchTree } from '../patch.js';

export type PatchWrite = Extract<Write, { kind: 'patch' }>;

/** The hard limit of a stored value, in bytes of its JSON. */
export const MAX_VALUE_BYTES = 2 * 1_048_576;

/** A patch's tree. @throws `VALIDATION` when one path stands under another. */
export function changesTree(changes: PatchChanges): PatchTree {
  const tree = patchTree(changes);
  if ('overlap' in tree) throw invalid('changes', changes, `no path under another (${tree.overlap})`);
  return tree;
}
