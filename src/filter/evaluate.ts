/** The oracle: what a filter means. Every backend and provider must answer as this does. */
import { isDate, valueAt } from './json.js';
import { recordWords } from './text.js';
import type { FieldReference, FilterNode, LeafNode, Scalar } from './syntax.js';

/** The data a filter is asked about, whatever holds it. */
export interface Subject {
  /** The value at a field, `undefined` when missing. Dates are ISO text. */
  get(field: FieldReference): unknown;
  words(): ReadonlySet<string>;
}

export function evaluate(node: FilterNode, subject: Subject): boolean {
  switch (node.op) {
    case 'and':
      return node.nodes.every((child) => evaluate(child, subject));
    case 'or':
      return node.nodes.some((child) => evaluate(child, subject));
    case 'not':
      return !evaluate(node.node, subject);
    default:
      return evaluateLeaf(node, subject);
  }
}

function evaluateLeaf(node: LeafNode, subject: Subject): boolean {
  if (node.op === 'text') {
    const words = subject.words();
    return node.words.length > 0 && node.words.every((word) => words.has(word));
  }
  const x = subject.get(node.field);
  switch (node.op) {
    case 'eq':
      return x === node.value;
    case 'in':
      return node.values.includes(x as Scalar);
    case 'exists':
      return x !== undefined;
    case 'contains':
      return Array.isArray(x) && x.includes(node.value);
    case 'startsWith':
      return typeof x === 'string' && x.startsWith(node.value);
    case 'icontains':
      return typeof x === 'string' && foldAscii(x).includes(foldAscii(node.value));
    case 'gt':
    case 'gte':
    case 'lt':
    case 'lte': {
      if (typeof x !== typeof node.value) return false;
      const order = compareScalars(x as number | string, node.value);
      if (node.op === 'gt') return order > 0;
      if (node.op === 'gte') return order >= 0;
      return node.op === 'lt' ? order < 0 : order <= 0;
    }
  }
}

/** ASCII letters only: what every database's `lower` agrees on. */
export function foldAscii(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** The order of sort keys: missing and null first, `false < true`, numbers, strings by code point. */
export function compareScalars(a: Scalar | undefined, b: Scalar | undefined): number {
  if (a === null || a === undefined) return b === null || b === undefined ? 0 : -1;
  if (b === null || b === undefined) return 1;
  if (typeof a === 'string' && typeof b === 'string') return compareText(a, b);
  return a < b ? -1 : a > b ? 1 : 0;
}

/** By code point, which is the order of UTF-8 bytes; JavaScript's own order is by UTF-16 units. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return codePointRank(x) - codePointRank(y);
  }
  return a.length - b.length;
}

// Surrogates (U+D800 to U+DFFF) stand for code points above U+FFFF, so they must rank above U+E000 to U+FFFF.
function codePointRank(unit: number): number {
  return unit >= 0xe000 ? unit - 0x800 : unit >= 0xd800 ? unit + 0x2000 : unit;
}

export interface RecordLike {
  readonly id: string;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly expiresAt?: Date | undefined;
  readonly value: object;
}

/** A record as filters and sorts see it. */
export function recordSubject(record: RecordLike, textPaths: readonly string[]): Subject {
  let words: ReadonlySet<string> | undefined;
  return {
    get: (field) => recordField(record, field),
    words: () => (words ??= new Set(recordWords(textPaths, record.value))),
  };
}

export function recordField(record: RecordLike, field: FieldReference): unknown {
  if (field.source === 'value') return valueAt(record.value, field.path);
  const value = record[field.path[0] as keyof RecordLike];
  return isDate(value) ? value.toISOString() : value;
}
