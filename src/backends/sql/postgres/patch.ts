/** A patch as one atomic statement: its preconditions in WHERE, its effect as one expression. */
import { recordWords } from '../../../filter/text.js';
import type { PatchChanges } from '../../backend.js';
import { incrementRange, isStep, type PatchStep, type PatchTree } from '../../patch.js';
import { changesTree, MAX_VALUE_BYTES, type PatchWrite } from '../changes.js';
import type { Dialect } from '../dialect.js';
import { literal } from '../expressions.js';
import { compileFilter } from '../filter.js';
import { RECORD_COLUMNS } from '../row.js';
import { insertColumns } from '../statements.js';
import { afterPart, expiredPart } from './expired.js';
import { tableName, typedJson } from './expressions.js';
import { expiryText, timeText, type PostgresParameters } from './parameters.js';

/** PostgreSQL functions take 100 arguments: a key and a value each. */
const PAIRS = 50;

export function patchBytes(changes: PatchChanges): number {
  return Buffer.byteLength(JSON.stringify(changes));
}

/**
 * The statement; it returns the patched record, or no row when a condition does not hold.
 * @param free whether it frees keys of what has expired before.
 */
export function patchStatement(
  dialect: Dialect,
  tenant: string,
  write: PatchWrite,
  now: Date,
  parameters: PostgresParameters,
  free = false,
): string {
  const table = tableName(write.collection.name);
  const tree = changesTree(write.changes);
  const time = parameters.add(timeText(now), 'timestamptz');
  const key = [parameters.add(tenant, 'text'), parameters.add(write.id, 'text')] as const;
  const value = patchedValue(tree, parameters);
  const expiry = patchedExpiry(write.expiresAt, parameters);
  const conditions = patchConditions(dialect, write, tree, parameters).join(' AND ');
  const first = free ? `WITH ${expiredPart('gone', write.collection, time, key[0])} ` : '';
  const after = free ? ` FROM ${afterPart('gone')}` : '';
  if (write.orInsert === undefined)
    return (
      `${first}UPDATE ${table} AS t SET ${patchAssignments(value, expiry, time)}${after} WHERE t.tenant = ${key[0]} AND t.id = ${key[1]}` +
      ` AND t.expires_at > ${time} AND ${conditions} RETURNING ${RECORD_COLUMNS}`
    );
  const words = write.collection.text.length > 0;
  const fresh = [
    ...key,
    '1',
    time,
    time,
    expiry ?? `'infinity'`,
    parameters.json(write.orInsert),
    ...(words ? [parameters.list(recordWords(write.collection.text, write.orInsert), 'text')] : []),
  ];
  const either = (live: string, column: string): string =>
    `CASE WHEN t.expires_at > ${time} THEN ${live} ELSE excluded.${column} END`;
  return (
    `${first}INSERT INTO ${table} AS t ${insertColumns(words)} SELECT ${fresh.join(', ')}${after} ON CONFLICT (tenant, id) DO UPDATE SET ` +
    `version = ${either('t.version + 1', 'version')}, created_at = ${either('t.created_at', 'created_at')}, updated_at = ${time}, ` +
    `expires_at = ${either(expiry ?? 't.expires_at', 'expires_at')}, value = ${either(value, 'value')}` +
    (words ? `, words = ${either('t.words', 'words')}` : '') +
    ` WHERE t.expires_at <= ${time} OR (${conditions}) RETURNING ${RECORD_COLUMNS}`
  );
}

/** The patched value of a row that fulfils `fitConditions`. */
export function patchedValue(tree: PatchTree, parameters: PostgresParameters): string {
  return objectExpression('t.value', tree, parameters);
}

/** @returns `undefined` when the row keeps its own. */
export function patchedExpiry(expiresAt: Date | null | undefined, parameters: PostgresParameters): string | undefined {
  return expiresAt === undefined ? undefined : parameters.add(expiryText(expiresAt), 'timestamptz');
}

export function patchAssignments(value: string, expiry: string | undefined, time: string): string {
  const kept = `value = ${value}, version = t.version + 1, updated_at = ${time}`;
  return expiry === undefined ? kept : `${kept}, expires_at = ${expiry}`;
}

function patchConditions(
  dialect: Dialect,
  write: PatchWrite,
  tree: PatchTree,
  parameters: PostgresParameters,
): string[] {
  const conditions = fitConditions(write.changes, tree, parameters);
  if (write.ifVersion !== undefined) conditions.push(`t.version = ${parameters.add(write.ifVersion, 'float8')}`);
  if (write.if !== undefined) conditions.push(`${compileFilter(dialect, write.if, parameters)}`);
  return conditions;
}

/** What must hold of a row for the changes to fit its value. */
export function fitConditions(changes: PatchChanges, tree: PatchTree, parameters: PostgresParameters): string[] {
  const size = parameters.add(MAX_VALUE_BYTES - patchBytes(changes), 'integer');
  const conditions = [`octet_length(t.value::text) <= ${size}`];
  addConditions('t.value', tree, parameters, conditions);
  return conditions;
}

/** What must hold of the value for the patch to fit it; none of it can raise an error, whatever the order. */
function addConditions(base: string, tree: PatchTree, parameters: PostgresParameters, conditions: string[]): void {
  for (const [key, node] of tree.children) {
    const json = `(${base}->${literal(key)})`;
    const type = `jsonb_typeof(${json})`;
    if (isStep(node)) {
      if (node.op === 'push') conditions.push(`COALESCE(${type}, 'array') = 'array'`);
      if (node.op !== 'increment') continue;
      const { min, max } = incrementRange(node.by);
      const number = numberAt(json);
      conditions.push(
        `COALESCE(${type}, 'number') = 'number'`,
        `COALESCE(${number} >= ${parameters.add(min, 'float8')} AND ${number} <= ${parameters.add(max, 'float8')}, TRUE)`,
      );
    } else {
      if (node.writes) conditions.push(`COALESCE(${type}, 'object') = 'object'`);
      addConditions(json, node, parameters, conditions);
    }
  }
}

/** The object at `base` (an object or missing, by the conditions) with the changes of one level made. */
function objectExpression(base: string, tree: PatchTree, parameters: PostgresParameters): string {
  const unset: string[] = [];
  const pairs: string[] = [];
  const optional: string[] = [];
  for (const [key, node] of tree.children) {
    const json = `(${base}->${literal(key)})`;
    if (isStep(node)) {
      if (node.op === 'unset') unset.push(literal(key));
      else pairs.push(`${literal(key)}::text, ${stepExpression(json, node, parameters)}`);
    } else if (node.writes) {
      pairs.push(`${literal(key)}::text, ${objectExpression(json, node, parameters)}`);
    } else {
      // Removing below what is no object changes nothing and makes nothing.
      const changed = `jsonb_build_object(${literal(key)}::text, ${objectExpression(json, node, parameters)})`;
      optional.push(`(CASE WHEN jsonb_typeof(${json}) = 'object' THEN ${changed} ELSE '{}'::jsonb END)`);
    }
  }
  let text = `COALESCE(${base}, '{}'::jsonb)`;
  if (unset.length > 0) text = `(${text} - ARRAY[${unset.join(', ')}]::text[])`;
  const parts = [text, ...optional];
  for (let i = 0; i < pairs.length; i += PAIRS)
    parts.push(`jsonb_build_object(${pairs.slice(i, i + PAIRS).join(', ')})`);
  return `(${parts.join(' || ')})`;
}

function stepExpression(
  json: string,
  step: Exclude<PatchStep, { op: 'unset' }>,
  parameters: PostgresParameters,
): string {
  switch (step.op) {
    case 'set':
      return parameters.json(step.value);
    case 'increment':
      return `to_jsonb(COALESCE(${numberAt(json)}, 0::float8) + ${parameters.add(step.by, 'float8')})`;
    case 'push':
      return `(COALESCE(${json}, '[]'::jsonb) || jsonb_build_array(${parameters.json(step.value)}))`;
  }
}

function numberAt(json: string): string {
  return typedJson(json, 'number', json);
}
