/** SQLite: JSON as text, times as milliseconds, and several statements as one synchronous step. */
import { recordWords } from '../../../filter/text.js';
import type { FieldType, Scalar } from '../../../filter/syntax.js';
import type { JsonObject } from '../../backend.js';
import type { Dialect, Operand, Parameters } from '../dialect.js';
import { definitions } from './definitions.js';
import { envelopeColumn, jsonPath, leastOf, NEVER, tableName, typedAt } from './expressions.js';
import { fewOrMany } from './few.js';
import { sqliteOperations } from './operations.js';
import { claim, updateMany } from './many.js';
import { SqliteParameters } from './parameters.js';
import { findRanges, readMany } from './read.js';
import { keyStatements } from './statements.js';
import { wordsText } from './words.js';
import { writeAll } from './write.js';

function typeOf(value: Operand): FieldType {
  return typeof value as 'string' | 'number' | 'boolean';
}

function presence(path: readonly string[]): string {
  return `json_type(t.value,${jsonPath(path)})`;
}

/** The shared code binds nothing that it was not given by `parameters()`. */
const own = (parameters: Parameters): SqliteParameters => parameters as SqliteParameters;

function untypedEqual(path: readonly string[], value: Operand, parameters: Parameters): string {
  const type = typeOf(value);
  return `${typedAt(path, type, 't.')} = ${parameters.operand(value, 'value', type)}`;
}

function untypedIn(path: readonly string[], values: readonly Scalar[], parameters: Parameters): string {
  const terms: string[] = [];
  for (const type of ['string', 'number', 'boolean'] as const) {
    const typed = values.filter((value): value is Operand => typeof value === type);
    if (typed.length > 0) terms.push(`${typedAt(path, type, 't.')} IN ${own(parameters).list(typed, 'value', type)}`);
  }
  if (values.includes(null)) terms.push(`${presence(path)} = 'null'`);
  return terms.length === 0 ? 'FALSE' : `(${terms.join(' OR ')})`;
}

/** What an element of an array is, for the value asked for. */
function element(value: Scalar, parameters: Parameters): string {
  switch (typeof value) {
    case 'string':
      return `e.type = 'text' AND e.atom = ${parameters.text(value)}`;
    case 'number':
      return `e.type IN ('integer','real') AND CAST(e.atom AS REAL) = ${parameters.operand(value, 'value', 'number')}`;
    case 'boolean':
      return `e.type = '${value}'`;
    default:
      return `e.type = 'null'`;
  }
}

export const sqlite: Dialect = {
  name: 'sqlite',
  parameters: () => new SqliteParameters(),
  time: (value) => value.getTime(),
  expiry: (value) => value?.getTime() ?? NEVER,
  words: (paths, value) => wordsText(recordWords(paths, value)),
  readValue: (column) => JSON.parse(column as string) as JsonObject,
  isNever: (column) => column === NEVER,

  tableName,
  typedAt,
  envelopeColumn,
  // SQLite's own order.
  nulls: { asc: '', desc: '' },
  expires: (prefix) => `${prefix}expires_at < ${NEVER}`,
  notNull: (expression, { source, type }) => `${expression} >= ${leastOf(source, type)}`,
  presence,
  jsonNull: `'null'`,

  oneOf: (expression, values, { source, type }, parameters) =>
    `${expression} IN ${own(parameters).list(values, source, type)}`,
  untypedEqual,
  untypedIn,
  // The alias: `value` alone would be json_each's own column.
  contains: (path, value, parameters) =>
    `(${presence(path)} = 'array' AND EXISTS (SELECT 1 FROM json_each(t.value,${jsonPath(path)}) AS e WHERE ${element(value, parameters)}))`,
  // SQLite's `lower` folds ASCII letters only.
  icontains: (text, value, parameters) => `instr(lower(${text}), ${parameters.text(value)}) > 0`,
  hasWords: (words, parameters) =>
    words.length === 0
      ? 'FALSE'
      : `(${words.map((word) => `instr(t.words, ${parameters.text(wordsText([word]))}) > 0`).join(' AND ')})`,

  count: 'count(*)',
  // A sum of numbers with a fraction ends in infinity, one of integers in an error.
  summand: (path) => typedAt(path, 'number', 't.'),
  deleteText: (table, where, tail) =>
    `DELETE FROM ${table} WHERE rowid IN (SELECT t.rowid FROM ${table} AS t WHERE ${where} ${tail})`,
  // SQLite would sort for a key that is pinned.
  pinnedKeys: false,
  fewOrMany: (...request) => fewOrMany(sqlite, ...request),

  statements: keyStatements,
  definitions,
  operations: sqliteOperations,
  readMany,
  findRanges,
  write: writeAll,
  updateMany,
  claim,
};
