/**
 * What a patch means. `applyPatch` is the definition: the memory backend runs it, and backends that patch in a statement of
 * their own use it to say why a patch was refused. `patchTree` is the form those statements are made from.
 */
import type { JsonObject, JsonValue, PatchChanges, PatchFault, RecordSchema } from './backend.js';

export type PatchStep =
  | { readonly op: 'set'; readonly value: JsonValue }
  | { readonly op: 'unset' }
  | { readonly op: 'increment'; readonly by: number }
  | { readonly op: 'push'; readonly value: JsonValue };

/** One object level of a value: what happens to the keys named in the patch. */
export interface PatchTree {
  readonly children: ReadonlyMap<string, PatchTree | PatchStep>;
  /** Whether it writes something below: then a missing object is made, and another type is a fault. */
  readonly writes: boolean;
}

export function isStep(node: PatchTree | PatchStep): node is PatchStep {
  return 'op' in node;
}

interface MutableTree {
  children: Map<string, MutableTree | PatchStep>;
  writes: boolean;
}

/** The changes as a tree of keys. @returns the first path that stands under another path, or twice, instead of a tree. */
export function patchTree(changes: PatchChanges): PatchTree | { readonly overlap: string } {
  const root: MutableTree = { children: new Map(), writes: false };
  for (const [path, step] of patchSteps(changes)) {
    const segments = path.split('.');
    const last = segments.pop()!;
    let tree = root;
    const writes = step.op !== 'unset';
    tree.writes ||= writes;
    for (const segment of segments) {
      let next = tree.children.get(segment);
      if (next === undefined) {
        next = { children: new Map(), writes: false };
        tree.children.set(segment, next);
      }
      if ('op' in next) return { overlap: path };
      next.writes ||= writes;
      tree = next;
    }
    if (tree.children.has(last)) return { overlap: path };
    tree.children.set(last, step);
  }
  return root;
}

/** Every path of the changes with its step. */
export function* patchSteps(changes: PatchChanges): Generator<readonly [string, PatchStep]> {
  for (const [path, value] of Object.entries(changes.set ?? {})) yield [path, { op: 'set', value }];
  for (const path of changes.unset ?? []) yield [path, { op: 'unset' }];
  for (const [path, by] of Object.entries(changes.increment ?? {})) yield [path, { op: 'increment', by }];
  for (const [path, value] of Object.entries(changes.push ?? {})) yield [path, { op: 'push', value }];
}

export type PatchOutcome =
  | { readonly ok: true; readonly value: JsonObject }
  | { readonly ok: false; readonly path: string; readonly reason: PatchFault };

/** A value with the changes made; the value itself is left alone. */
export function applyPatch(value: JsonObject, tree: PatchTree): PatchOutcome {
  return applyTree(value, tree, []);
}

function applyTree(value: JsonObject, tree: PatchTree, at: readonly string[]): PatchOutcome {
  const result: Record<string, JsonValue> = { ...value };
  for (const [key, node] of tree.children) {
    const path = [...at, key];
    const current = Object.hasOwn(value, key) ? value[key] : undefined;
    if (isStep(node)) {
      const fault = stepFault(current, node);
      if (fault !== undefined) return { ok: false, path: path.join('.'), reason: fault };
      if (node.op === 'unset') delete result[key];
      else result[key] = applyStep(current, node);
    } else if (current === undefined || !isObject(current)) {
      // Removing below what is no object changes nothing; writing there makes a missing one.
      if (!node.writes) continue;
      if (current !== undefined) return { ok: false, path: path.join('.'), reason: 'not-an-object' };
      const made = applyTree({}, node, path);
      if (!made.ok) return made;
      result[key] = made.value;
    } else {
      const changed = applyTree(current, node, path);
      if (!changed.ok) return changed;
      result[key] = changed.value;
    }
  }
  return { ok: true, value: result };
}

function stepFault(current: JsonValue | undefined, step: PatchStep): PatchFault | undefined {
  if (current === undefined) return undefined;
  if (step.op === 'increment') {
    if (typeof current !== 'number') return 'not-a-number';
    return current >= incrementRange(step.by).min && current <= incrementRange(step.by).max ? undefined : 'overflow';
  }
  return step.op === 'push' && !Array.isArray(current) ? 'not-an-array' : undefined;
}

function applyStep(current: JsonValue | undefined, step: Exclude<PatchStep, { op: 'unset' }>): JsonValue {
  switch (step.op) {
    case 'set':
      return step.value;
    case 'increment':
      return (typeof current === 'number' ? current : 0) + step.by;
    case 'push':
      return [...(Array.isArray(current) ? (current as readonly JsonValue[]) : []), step.value];
  }
}

/** The numbers to which `by` can be added without leaving the finite doubles; every backend compares with these. */
export function incrementRange(by: number): { readonly min: number; readonly max: number } {
  return by >= 0
    ? { min: -Number.MAX_VALUE, max: Number.MAX_VALUE - by }
    : { min: -Number.MAX_VALUE - by, max: Number.MAX_VALUE };
}

function isObject(value: JsonValue): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether changes may give a record other values of a unique constraint. */
export function touchesUnique({ unique }: RecordSchema, changes: PatchChanges): boolean {
  if (unique.length === 0) return false;
  const isPart = (path: string, other: string): boolean => path === other || path.startsWith(`${other}.`);
  const fields = unique.flatMap((constraint) => constraint.fields);
  return [...patchSteps(changes)].some(([path]) => fields.some((field) => isPart(field, path) || isPart(path, field)));
}
