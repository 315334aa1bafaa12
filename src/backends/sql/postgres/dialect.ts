/** PostgreSQL, on a server or as PGlite: `jsonb`, arrays, and one statement for a whole batch. */
import { recordWords } from '../../../filter/text.js';
import type { JsonObject } from '../../backend.js';
import type { Dialect } from '../dialect.js';
import { definitions } from './definitions.js';
import { envelopeColumn, jsonAt, tableName, typedAt } from './expressions.js';
import { namedStatement } from '../statement-names.js';
import { loadAll } from './load.js';
import { postgresOperations } from './operations/index.js';
import { claim, updateMany } from './many.js';
import { expiryText, PostgresParameters, timeText } from './parameters.js';
import { rangesStatement } from './ranges.js';
import { readMany } from './read.js';
import { keyStatements } from './statements.js';
import { writeAll } from './write.js';

/** The shared code binds nothing that it was not given by `parameters()`. */
const own = (parameters: object): PostgresParameters => parameters as PostgresParameters;

export const postgres: Dialect = {
  name: 'postgres',
  parameters: () => new PostgresParameters(),
  time: timeText,
  expiry: expiryText,
  words: recordWords,
  readValue: (column) => column as JsonObject,
  // The number is how drivers give `infinity`.
  isNever: (column) => column === Infinity,

  tableName,
  typedAt,
  envelopeColumn,
  // The opposite of PostgreSQL's default.
  nulls: { asc: ' NULLS FIRST', desc: ' NULLS LAST' },
  expires: (prefix) => `${prefix}expires_at < 'infinity'::timestamptz`,
  notNull: (expression) => `${expression} IS NOT NULL`,
  presence: (path) => jsonAt(path, 't.value'),
  jsonNull: `'null'::jsonb`,

  oneOf: (expression, values, { source, type }, parameters) =>
    `${expression} = ANY(${own(parameters).operands(values, source, type)})`,
  untypedEqual: (path, value, parameters) => `${jsonAt(path, 't.value')} = ${own(parameters).json(value)}`,
  untypedIn: (path, values, parameters) => `${jsonAt(path, 't.value')} = ANY(${own(parameters).jsonList(values)})`,
  contains: (path, value, parameters) => `${jsonAt(path, 't.value')} @> ${own(parameters).json([value])}`,
  // The expression has the C collation, whose `lower` folds ASCII letters only.
  icontains: (text, value, parameters) => `strpos(lower(${text}), ${parameters.text(value)}) > 0`,
  hasWords: (words, parameters) => `t.words @> ${own(parameters).list(words, 'text')}`,

  count: 'count(*)::float8',
  // Not `float8`, whose sums beyond the doubles are an error, which would end a transaction.
  summand(path) {
    const json = jsonAt(path, 't.value');
    return `(CASE WHEN jsonb_typeof(${json})='number' THEN ${json}::numeric END)`;
  },
  // Locked as they are picked: what another transaction deleted or changed meanwhile does not count towards the limit.
  deleteText: (table, where, tail) =>
    `WITH picked AS (SELECT t.tenant, t.id FROM ${table} t WHERE ${where} ${tail} FOR UPDATE) ` +
    `DELETE FROM ${table} t USING picked AS p WHERE t.tenant = p.tenant AND t.id = p.id`,
  // The planner does not know that `IS NULL` pins a key.
  pinnedKeys: true,

  statements: keyStatements,
  definitions,
  operations: postgresOperations,
  readMany,
  async findRanges({ pool, dialect }, scope, request, ranges, context) {
    const { text, parameters } = rangesStatement(dialect, scope, request, ranges, context.now);
    return (await pool.query(text, parameters.values, context, namedStatement(pool, text))).rows;
  },
  write: writeAll,
  load: loadAll,
  updateMany,
  claim,
};
