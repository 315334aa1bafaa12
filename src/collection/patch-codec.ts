/** A host's changes to parts of a value: checked against the declaration, and in the form that backends get. */
import { LIMITS } from '../backends/limits.js';
import { MAX_VALUE_BYTES } from '../backends/plan.js';
import { checkField } from '../backends/declared-fields.js';
import { encodeElement, jsonBytes } from '../backends/value.js';
import { patchSteps, patchTree, type PatchStep } from '../backends/patch.js';
import type { FieldSchema, JsonObject, JsonValue, PatchChanges, RecordSchema } from '../backends/backend.js';
import { checkKnown, invalid, ValidationError } from '../errors.js';
import { pathFault } from '../filter/fields.js';
import { isPlainObject } from '../filter/json.js';

const KINDS = new Set(['set', 'unset', 'increment', 'push']);

/** @throws `VALIDATION` */
export function encodePatch(changes: unknown, schema: RecordSchema): PatchChanges {
  if (!isPlainObject(changes)) throw invalid('changes', changes, `an object of ${[...KINDS].join(', ')}`);
  checkKnown(changes, KINDS, 'changes');
  const { set = {}, unset = [], increment = {}, push = {} } = changes;
  if (!Array.isArray(unset)) throw invalid('changes.unset', unset, 'an array of paths');
  const size = { bound: 0 };
  const encoded = {
    set: encodeParts(set, 'set', schema, size),
    unset: unset.map((path: unknown, i) => checkPath(path, `changes.unset[${i}]`)),
    increment: encodeParts(increment, 'increment', schema, size) as Record<string, number>,
    push: encodeParts(push, 'push', schema, size),
  };
  // What no record could hold is not sent.
  if (size.bound > MAX_VALUE_BYTES && jsonBytes(encoded) > MAX_VALUE_BYTES)
    throw invalid('changes', changes, `at most ${MAX_VALUE_BYTES} bytes of JSON`);
  const steps = [...patchSteps(encoded)];
  if (steps.length > LIMITS.patchPaths)
    throw invalid(
      'changes',
      changes,
      `at most ${LIMITS.patchPaths} paths, not ${steps.length} (update takes any number)`,
    );
  for (const [path, step] of steps) checkStep(path, step, schema);
  const tree = patchTree(encoded);
  if ('overlap' in tree)
    throw new ValidationError('VALIDATION', `changes: two of them meet at ${tree.overlap}`, {
      details: { path: tree.overlap },
    });
  if (tree.children.size === 0) throw invalid('changes', changes, 'at least one change');
  return encoded;
}

/** Whether one path is the other, or stands below it. */
export function overlap(a: string, b: string): boolean {
  return a === b || a.startsWith(`${b}.`) || b.startsWith(`${a}.`);
}

function encodeParts(
  parts: unknown,
  kind: 'set' | 'increment' | 'push',
  schema: RecordSchema,
  size: { bound: number },
): Record<string, JsonValue> {
  if (!isPlainObject(parts)) throw invalid(`changes.${kind}`, parts, 'an object of paths');
  const encoded: Record<string, JsonValue> = {};
  for (const [path, value] of Object.entries(parts)) {
    const at = `changes.${kind}.${path}`;
    checkPath(path, at);
    if (kind === 'increment' && (typeof value !== 'number' || !Number.isFinite(value)))
      throw invalid(at, value, 'a finite number');
    const element = encodeElement(value, schema, kind === 'push' ? `${path}.[]` : path, at);
    encoded[path] = element.value;
    size.bound += element.bound;
  }
  return encoded;
}

function checkPath(path: unknown, at: string): string {
  if (typeof path !== 'string') throw invalid(at, path, 'a dotted path');
  const fault = pathFault(path);
  if (fault !== undefined) throw invalid(at, path, `a path that can be named (it ${fault})`);
  return path;
}

/** What a step leaves must fit the declared fields at, above and below its path. */
function checkStep(path: string, step: PatchStep, { fields }: RecordSchema): void {
  if (step.op === 'unset') return;
  for (const [field, declared] of fields) {
    if (!overlap(path, field)) continue;
    const at = `changes.${step.op}.${path}`;
    const given = step.op === 'increment' ? step.by : step.value;
    if (path === field) {
      if (step.op === 'increment' ? declared.type !== 'number' : step.op === 'push')
        throw invalid(at, given, `no ${step.op} of the field ${field}, which is declared as a ${declared.type}`);
      if (step.op === 'set') checkField(at, step.value, declared);
    } else if (path.startsWith(`${field}.`)) {
      throw invalid(at, given, `no change below the declared field ${field}`);
    } else if (step.op === 'push') {
      throw invalid(at, given, `no array on the way to the declared field ${field}`);
    } else if (step.op === 'set') {
      checkBelow(field, field.slice(path.length + 1), step.value, declared, at);
    }
  }
}

function checkBelow(field: string, below: string, value: JsonValue, declared: FieldSchema, at: string): void {
  let current: JsonValue | undefined = value;
  for (const segment of below.split('.')) {
    if (Array.isArray(current)) throw invalid(at, current, `no array on the way to the declared field ${field}`);
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, segment)) return;
    current = (current as JsonObject)[segment];
  }
  if (current !== undefined) checkField(`${at}.${below}`, current, declared);
}
