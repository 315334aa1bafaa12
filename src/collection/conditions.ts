/** Conditions and orders over declared fields, for the records that the library itself keeps. */
import type { Direction, SortKey } from '../filter/cursor.js';
import type { FieldReference, FieldType, FilterNode, RangeOperator, Scalar } from '../filter/syntax.js';

/** A declared field at the top of the value. */
export function valueField(name: string, type: FieldType): FieldReference {
  return { source: 'value', path: [name], type };
}

export function equals(name: string, value: string | number | boolean): FilterNode {
  return { op: 'eq', field: valueField(name, typeof value as 'string' | 'number' | 'boolean'), value };
}

export function oneOf(name: string, values: readonly Scalar[], type: FieldType = 'string'): FilterNode {
  return { op: 'in', field: valueField(name, type), values };
}

/** A Date is compared with a field declared as `'date'`. */
export function compares(name: string, op: RangeOperator, value: number | Date): FilterNode {
  return typeof value === 'number'
    ? { op, field: valueField(name, 'number'), value }
    : { op, field: valueField(name, 'date'), value: value.toISOString() };
}

export function present(name: string, type: FieldType): FilterNode {
  return { op: 'exists', field: valueField(name, type) };
}

export function all(...nodes: readonly FilterNode[]): FilterNode {
  return { op: 'and', nodes };
}

/** The order by one declared field; equal ones by their id. */
export function orderBy(name: string, type: FieldType, direction: Direction = 'asc'): SortKey[] {
  return [
    { source: 'value', path: [name], type, direction },
    { source: 'envelope', path: ['id'], type: 'string', direction },
  ];
}
