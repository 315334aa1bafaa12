/**
 * The filter language: what a host may write, and the closed tree it becomes. Everything that reaches a backend or a
 * provider went through `parseFilter`; nothing else makes a `FilterNode`.
 */
import { ValidationError } from '../errors.js';
import { FILTER_LIMITS, parseFieldPath, type FieldReference, type FilterDomain } from './fields.js';
import { isDate, isPlainObject } from './json.js';
import { checkString, dateText, parseElement, refuse, type Scalar, unknownOperator } from './operand.js';
import type { Path, PathValue } from './paths.js';

export { dateText, type Scalar };
export { FILTER_LIMITS, type FieldReference, type FieldType, type FilterDomain } from './fields.js';

type Operand<V> = unknown extends V ? Scalar | Date : Extract<V, string | number | boolean | Date> | null;
type Element<V> = unknown extends V ? Scalar : V extends readonly (infer E)[] ? Extract<E, Scalar> : never;

type Text<V> = unknown extends V ? string : [Extract<V, string>] extends [never] ? never : string;

export interface Operators<V> {
  $eq?: Operand<V>;
  $ne?: Operand<V>;
  $in?: readonly Operand<V>[];
  $nin?: readonly Operand<V>[];
  $gt?: Exclude<Operand<V>, null | boolean>;
  $gte?: Exclude<Operand<V>, null | boolean>;
  $lt?: Exclude<Operand<V>, null | boolean>;
  $lte?: Exclude<Operand<V>, null | boolean>;
  $exists?: boolean;
  /** The value is an array that holds this element. Never a substring. */
  $contains?: Element<V>;
  $startsWith?: Text<V>;
  /** The string holds this text; ASCII letters are folded, no others. */
  $icontains?: Text<V>;
  $not?: Operators<V>;
}

/** The parts of a record around its value; they are named like fields in filters and sorts. */
export interface Envelope {
  id: string;
  version: number;
  createdAt: Date;
  updatedAt: Date;
  expiresAt: Date;
}

type Conditions<T> = { [P in Path<T>]?: Operand<PathValue<T, P>> | Operators<PathValue<T, P>> };

/**
 * A filter over records of type `T`. `{}` matches all. A missing field is matched by `$exists: false`, `$ne`, `$nin` and
 * `$not` only; `null` is a value; types do not coerce; strings are ordered by code point.
 */
export type Filter<T = unknown> = (string extends Path<T>
  ? { [path: string]: unknown }
  : Conditions<T> & Conditions<Envelope>) & {
  $and?: readonly Filter<T>[];
  $or?: readonly Filter<T>[];
  $not?: Filter<T>;
  /** All words must occur in the collection's `text` paths. */
  $text?: string;
};

export type RangeOperator = 'gt' | 'gte' | 'lt' | 'lte';

/** Dates are ISO text by now; `$ne`, `$nin` and `$not` are `not` over their opposite. */
export type LeafNode =
  | { readonly op: 'eq'; readonly field: FieldReference; readonly value: Scalar }
  | { readonly op: 'in'; readonly field: FieldReference; readonly values: readonly Scalar[] }
  | { readonly op: RangeOperator; readonly field: FieldReference; readonly value: number | string }
  | { readonly op: 'exists'; readonly field: FieldReference }
  | { readonly op: 'contains'; readonly field: FieldReference; readonly value: Scalar }
  | { readonly op: 'startsWith' | 'icontains'; readonly field: FieldReference; readonly value: string }
  | { readonly op: 'text'; readonly words: readonly string[] };

export type FilterNode =
  | { readonly op: 'and' | 'or'; readonly nodes: readonly FilterNode[] }
  | { readonly op: 'not'; readonly node: FilterNode }
  | LeafNode;

const RANGES = new Map<string, RangeOperator>([
  ['$gt', 'gt'],
  ['$gte', 'gte'],
  ['$lt', 'lt'],
  ['$lte', 'lte'],
]);
const OPERATORS = '$eq $ne $gt $gte $lt $lte $in $nin $exists $contains $startsWith $icontains $not';

interface State {
  readonly domain: FilterDomain;
  leaves: number;
}

/** Validates a host's filter and gives its tree. @throws `INVALID_FILTER`, with the path and what was expected. */
export function parseFilter(filter: unknown, domain: FilterDomain): FilterNode {
  return parseObject(filter, { domain, leaves: 0 }, 'filter', 1);
}

function parseObject(filter: unknown, state: State, at: string, depth: number): FilterNode {
  if (depth > FILTER_LIMITS.depth) throw refuse(at, `at most ${FILTER_LIMITS.depth} levels`, filter);
  if (!isPlainObject(filter)) throw refuse(at, 'an object', filter);
  const nodes: FilterNode[] = [];
  for (const [key, operand] of Object.entries(filter)) {
    const here = `${at}.${key}`;
    if (key === '$and' || key === '$or') {
      if (!Array.isArray(operand)) throw refuse(here, 'an array of filters', operand);
      const children = Array.from(operand, (child, i) => parseObject(child, state, `${here}[${i}]`, depth + 1));
      nodes.push({ op: key === '$and' ? 'and' : 'or', nodes: children });
    } else if (key === '$not') {
      nodes.push({ op: 'not', node: parseObject(operand, state, here, depth + 1) });
    } else if (key === '$text') {
      nodes.push(parseText(operand, state, here));
    } else if (key.startsWith('$')) {
      throw refuse(here, 'a field, $and, $or, $not or $text', operand, `unknown operator ${key}`);
    } else {
      nodes.push(parseField(parseFieldPath(key, state.domain), operand, state, here, depth + 1));
    }
  }
  return nodes.length === 1 ? nodes[0]! : { op: 'and', nodes };
}

function parseText(operand: unknown, state: State, at: string): FilterNode {
  if (state.domain.tokenize === undefined) throw refuse(at, 'a collection that declares `text`', operand);
  const text = checkString(operand, at);
  const words = state.domain.tokenize(text);
  count(state, Math.max(1, words.length), at);
  return words.length === 0 ? NOTHING : { op: 'text', words };
}

/** The tree that matches all, and the one that matches nothing. */
export const ALL: FilterNode = { op: 'and', nodes: [] };
export const NOTHING: FilterNode = { op: 'or', nodes: [] };

function parseField(field: FieldReference, operand: unknown, state: State, at: string, depth: number): FilterNode {
  if (!isPlainObject(operand)) return parseOperator('$eq', field, operand, state, at, depth);
  const entries = Object.entries(operand);
  if (entries.length === 0) throw refuse(at, 'at least one operator', operand, 'empty operator object');
  const nodes = entries.map(([key, value]) => parseOperator(key, field, value, state, `${at}.${key}`, depth));
  return nodes.length === 1 ? nodes[0]! : { op: 'and', nodes };
}

function parseOperator(
  operator: string,
  field: FieldReference,
  operand: unknown,
  state: State,
  at: string,
  depth: number,
): FilterNode {
  const { domain } = state;
  const range = RANGES.get(operator);
  if (range !== undefined) {
    count(state, 1, at);
    const value = parseScalar(operand, field, domain, at);
    if (typeof value !== 'number' && typeof value !== 'string')
      throw refuse(at, 'a number, a string or a Date', operand);
    return { op: range, field, value };
  }
  switch (operator) {
    case '$eq':
      count(state, 1, at);
      return { op: 'eq', field, value: parseScalar(operand, field, domain, at) };
    case '$ne':
      return { op: 'not', node: parseOperator('$eq', field, operand, state, at, depth) };
    case '$in': {
      if (!Array.isArray(operand)) throw refuse(at, 'an array', operand);
      if (operand.length > FILTER_LIMITS.operands)
        throw refuse(at, `at most ${FILTER_LIMITS.operands} values`, operand);
      count(state, 1, at);
      return { op: 'in', field, values: Array.from(operand, (v, i) => parseScalar(v, field, domain, `${at}[${i}]`)) };
    }
    case '$nin':
      return { op: 'not', node: parseOperator('$in', field, operand, state, at, depth) };
    case '$exists': {
      if (typeof operand !== 'boolean') throw refuse(at, 'true or false', operand);
      count(state, 1, at);
      const node: FilterNode = { op: 'exists', field };
      return operand ? node : { op: 'not', node };
    }
    case '$contains': {
      count(state, 1, at);
      if (domain.values === 'metadata') return { op: 'contains', field, value: checkString(operand, at) };
      return { op: 'contains', field, value: parseElement(operand, at) };
    }
    case '$startsWith':
    case '$icontains': {
      if (domain.values === 'metadata')
        throw refuse(at, 'an operator of vector metadata', operand, `unknown operator ${operator}`);
      if (isEncodedId(field, domain))
        throw refuse(at, '$eq, $in or a comparison', operand, 'the ids of a sequence are numbers');
      count(state, 1, at);
      const value = checkString(operand, at);
      return { op: operator === '$startsWith' ? 'startsWith' : 'icontains', field, value };
    }
    case '$not': {
      if (depth >= FILTER_LIMITS.depth) throw refuse(at, `at most ${FILTER_LIMITS.depth} levels`, operand);
      if (!isPlainObject(operand)) throw refuse(at, 'an object of operators', operand);
      return { op: 'not', node: parseField(field, operand, state, at, depth + 1) };
    }
    default:
      throw unknownOperator(at, operator, OPERATORS, field.path, operand);
  }
}

function parseScalar(operand: unknown, field: FieldReference, domain: FilterDomain, at: string): Scalar {
  if (operand === null && domain.values === 'json') return null;
  if (field.type === 'date') return dateText(operand, at);
  if (isDate(operand)) throw refuse(at, "a value of the field's type (it is not declared as 'date')", operand);
  const value = parseElement(operand, at);
  if (value === null) throw refuse(at, 'a string, number or boolean', operand);
  if (
    typeof value === 'number' &&
    domain.values === 'metadata' &&
    Number.isInteger(value) &&
    !Number.isSafeInteger(value)
  )
    throw refuse(at, 'a fraction or an integer within 2^53', operand);
  return typeof value === 'string' && isEncodedId(field, domain) ? domain.encodeId!(value) : value;
}

function isEncodedId(field: FieldReference, domain: FilterDomain): boolean {
  return domain.encodeId !== undefined && field.source === 'envelope' && field.path[0] === 'id';
}

function count(state: State, leaves: number, at: string): void {
  state.leaves += leaves;
  if (state.leaves > FILTER_LIMITS.leaves) {
    throw new ValidationError('INVALID_FILTER', `${at}: a filter has at most ${FILTER_LIMITS.leaves} conditions`);
  }
}
