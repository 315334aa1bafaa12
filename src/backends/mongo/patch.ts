/**
 * A patch as one atomic update, where its meaning is exactly the contract's: the filter holds what must be true of the
 * value for that. What the filter leaves out is decided in this process, which also says what was wrong.
 */
import type { Document, MongoUse } from '../../pools/mongo/operation-use.js';
import type { JsonValue, Write } from '../backend.js';
import { incrementRange, isStep, patchTree, type PatchStep, type PatchTree } from '../patch.js';
import { MAX_VALUE_BYTES } from '../plan.js';
import { NEVER } from './document.js';
import { compileFilter } from './filter.js';
import { encodeKey, encodeKeys, hasOddKeys, valuePath } from './keys.js';

export type PatchWrite = Extract<Write, { kind: 'patch' }>;

export interface PatchUpdate {
  readonly conditions: readonly Document[];
  /** One of them holds for every record that fits the changes and not `conditions`, and for some that fit both. */
  readonly apart: readonly Document[];
  readonly update: Document;
}

/** JSON writes a byte of BSON with up to 6 characters; larger values are measured in this process. */
const BYTES_PER_BYTE = 6;

const NOT_AN_OBJECT = ['double', 'string', 'array', 'bool', 'null', 'int', 'long'];
const NOT_A_NUMBER = ['string', 'array', 'bool', 'null', 'object'];

class Update {
  readonly conditions: Document[] = [];
  readonly apart: Document[] = [];
  readonly set: Record<string, unknown> = {};
  readonly unset: Record<string, ''> = {};
  readonly increment: Record<string, unknown> = {};
  readonly push: Record<string, unknown> = {};
  odd = false;
}

/** @returns `undefined` for changes that no single update makes. */
export function patchUpdate(
  use: MongoUse,
  write: Pick<PatchWrite, 'changes' | 'if' | 'ifVersion' | 'expiresAt'>,
  now: Date,
): PatchUpdate | undefined {
  const tree = patchTree(write.changes);
  if ('overlap' in tree) throw new TypeError(`Two changes at ${tree.overlap}`);
  const room = Math.floor((MAX_VALUE_BYTES - Buffer.byteLength(JSON.stringify(write.changes))) / BYTES_PER_BYTE);
  if (room <= 0) return undefined;
  const parts = new Update();
  addTree(use, tree, [], parts);
  const { conditions, apart, set, unset } = parts;
  if (write.ifVersion !== undefined) conditions.push({ n: write.ifVersion });
  if (write.if !== undefined) conditions.push(compileFilter(write.if));
  conditions.push({ $expr: { $lte: [{ $bsonSize: '$$ROOT' }, room] } });
  // From the half on: between the two questions another write may make it larger.
  apart.push({ $expr: { $gt: [{ $bsonSize: '$$ROOT' }, Math.floor(room / 2)] } });
  set['u'] = now;
  if (parts.odd) set['k'] = 1;
  if (write.expiresAt !== undefined) set['x'] = write.expiresAt ?? NEVER;
  if (write.expiresAt === null) unset['e'] = '';
  else if (write.expiresAt !== undefined) set['e'] = write.expiresAt;
  const update: Record<string, unknown> = { $set: set, $inc: { ...parts.increment, n: 1 } };
  if (Object.keys(unset).length > 0) update['$unset'] = unset;
  if (Object.keys(parts.push).length > 0) update['$push'] = parts.push;
  return { conditions, apart, update };
}

function addTree(use: MongoUse, tree: PatchTree, at: readonly string[], parts: Update): void {
  for (const [key, node] of tree.children) {
    const segments = [...at, key];
    const path = valuePath(segments);
    if (encodeKey(key) !== key) parts.odd = true;
    if (isStep(node)) {
      addStep(use, path, node, parts);
    } else {
      // An update would take a segment for the index of an array; below a scalar, removing changes nothing.
      parts.conditions.push({ [path]: { $not: { $type: node.writes ? NOT_AN_OBJECT : 'array' } } });
      if (!node.writes) parts.apart.push({ [path]: { $type: 'array' } });
      addTree(use, node, segments, parts);
    }
  }
}

function addStep(use: MongoUse, path: string, step: PatchStep, parts: Update): void {
  switch (step.op) {
    case 'set':
      parts.set[path] = stored(step.value, parts);
      return;
    case 'unset':
      parts.unset[path] = '';
      return;
    case 'push':
      parts.conditions.push({ $or: [{ [path]: { $exists: false } }, { [path]: { $type: 'array' } }] });
      parts.push[path] = stored(step.value, parts);
      return;
    case 'increment': {
      const { min, max } = incrementRange(step.by);
      parts.conditions.push({ [path]: { $not: { $type: NOT_A_NUMBER } } });
      if (max < Number.MAX_VALUE) parts.conditions.push({ [path]: { $not: { $gt: max } } });
      if (min > -Number.MAX_VALUE) parts.conditions.push({ [path]: { $not: { $lt: min } } });
      // Integers would be added exactly beyond 2^53.
      parts.increment[path] = use.double(step.by);
    }
  }
}

function stored(value: JsonValue, parts: Update): JsonValue {
  if (!hasOddKeys(value)) return value;
  parts.odd = true;
  return encodeKeys(value);
}
