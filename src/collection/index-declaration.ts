/** The indexes and unique constraints of a declaration, checked. */
import type { FieldSchema, IndexSchema, UniqueSchema } from '../backends/backend.js';
import { LIMITS } from '../backends/limits.js';
import { invalid } from '../errors.js';
import type { FieldType } from '../filter/fields.js';
import { isList } from '../filter/json.js';

type EnvelopeField = 'version' | 'createdAt' | 'updatedAt' | 'expiresAt';
export type IndexKey<F extends string> = F | EnvelopeField | readonly [F | EnvelopeField, 'asc' | 'desc'];

export const ENVELOPE: ReadonlyMap<string, FieldType> = new Map<string, FieldType>([
  ['id', 'string'],
  ['version', 'number'],
  ['createdAt', 'date'],
  ['updatedAt', 'date'],
  ['expiresAt', 'date'],
]);

/** The field and the direction of an index's key. */
export function indexKey(key: unknown, at: string): readonly [field: string, direction: string] {
  if (typeof key === 'string') return [key, 'asc'];
  if (!isList(key) || key.length !== 2 || !key.every((part) => typeof part === 'string'))
    throw invalid(at, key, "a field, or a field with 'asc' or 'desc'");
  return [key[0]!, key[1]!];
}

export function parseIndex(
  index: { readonly keys: readonly IndexKey<string>[]; readonly scope?: 'tenant' | 'all' },
  fields: ReadonlyMap<string, FieldSchema>,
  at: string,
): IndexSchema {
  if (!isList(index.keys) || index.keys.length === 0) throw invalid(`${at}.keys`, index.keys, 'at least one field');
  const keys = index.keys.map((key, i) => {
    const [field, direction] = indexKey(key, `${at}.keys[${i}]`);
    if (field === 'id' || (!ENVELOPE.has(field) && !fields.has(field)))
      throw invalid(
        `${at}.keys[${i}]`,
        field,
        `a declared field, version, createdAt, updatedAt or expiresAt (${field} is not)`,
      );
    if (direction !== 'asc' && direction !== 'desc') throw invalid(`${at}.keys[${i}]`, direction, "'asc' or 'desc'");
    return { field, direction } as const;
  });
  checkEntrySize(
    keys.map((key) => key.field),
    fields,
    at,
  );
  const { scope = 'tenant' } = index;
  if (scope !== 'tenant' && scope !== 'all') throw invalid(`${at}.scope`, scope, "'tenant' or 'all'");
  const name = [...keys.map((key) => `${key.field}${key.direction === 'desc' ? ' desc' : ''}`), scope].join(', ');
  return { name, keys, scope };
}

export function parseUnique(
  constraints: readonly { readonly name: string; readonly fields: readonly string[] }[],
  fields: ReadonlyMap<string, FieldSchema>,
  at: string,
): UniqueSchema[] {
  return constraints.map((constraint, i) => {
    const here = `${at}: unique[${i}]`;
    if (typeof constraint.name !== 'string' || !/^[a-zA-Z][a-zA-Z0-9_]{0,47}$/.test(constraint.name))
      throw invalid(`${here}.name`, constraint.name, 'a name of the form [a-zA-Z][a-zA-Z0-9_]{0,47}');
    if (constraints.findIndex((other) => other.name === constraint.name) !== i)
      throw invalid(`${here}.name`, constraint.name, 'a name that no other constraint has');
    if (!isList(constraint.fields) || constraint.fields.length === 0)
      throw invalid(`${here}.fields`, constraint.fields, 'at least one declared field');
    for (const field of constraint.fields)
      if (!fields.has(field)) throw invalid(`${here}.fields`, field, `declared fields (${field} is not)`);
    checkEntrySize(constraint.fields, fields, here);
    return { name: constraint.name, fields: [...constraint.fields] };
  });
}

function checkEntrySize(keys: readonly string[], fields: ReadonlyMap<string, FieldSchema>, at: string): void {
  const strings = keys.reduce((sum, key) => {
    const field = fields.get(key);
    return sum + (field?.type === 'string' ? field.maxBytes : 32);
  }, LIMITS.tenantBytes + LIMITS.idBytes);
  if (strings > LIMITS.indexEntryBytes)
    throw invalid(
      at,
      keys,
      `keys of at most ${LIMITS.indexEntryBytes} bytes together with tenant and id (these can have ${strings}); lower a field's maxBytes`,
    );
}
