/** The statements of one key, made once for a collection. */
import type { RecordSchema } from '../../backend.js';
import type { KeyStatement, KeyStatements } from '../dialect.js';
import { CONTENT_COLUMNS } from '../row.js';
import { bySchema, insertColumns, insertOver, namedStatement, putOver } from '../statements.js';
import { afterPart, expiredPart } from './expired.js';
import { tableName } from './expressions.js';

/** What a write returns that knows its value. */
export const WRITTEN_COLUMNS = 't.version, t.created_at';

export const keyStatements = bySchema((schema) => makeStatements(schema, false));

/** The same, freeing keys of what has expired: other texts under other names. */
export const freeingStatements = bySchema((schema) => makeStatements(schema, true));

/** @param first the place of the version; the time of the creation, or null, is the next one */
function same(first: number): string {
  return `t.version = $${first}::float8 AND t.created_at = coalesce($${first + 1}::timestamptz, t.created_at)`;
}

function makeStatements(schema: RecordSchema, free: boolean): KeyStatements {
  const table = tableName(schema.name);
  const words = schema.text.length > 0;
  const key = 't.tenant = $1 AND t.id = $2 AND t.expires_at > $3';
  const named = (kind: string, text: string): KeyStatement => namedStatement(free ? `${kind}x` : kind, text, schema);
  const first = (time: string): string => (free ? `WITH ${expiredPart('gone', schema, time, '$1')} ` : '');
  // What is selected has to be of the columns' types, where VALUES takes them from the columns.
  const fresh = `$1::text, $2::text, 1, $3::timestamptz, $4::timestamptz, $5::timestamptz, $6::text::jsonb${words ? ', $7::text[]' : ''}`;
  const source = free ? `SELECT ${fresh} FROM ${afterPart('gone')}` : `VALUES (${fresh})`;
  const insert =
    `${first('$4')}INSERT INTO ${table} AS t ${insertColumns(words)} ${source} ` +
    'ON CONFLICT (tenant, id) DO UPDATE SET ';
  const replace =
    `${first('$3')}UPDATE ${table} AS t SET value = $5::text::jsonb, version = t.version + 1, updated_at = $3::timestamptz, ` +
    `expires_at = $4${words ? ', words = $6::text[]' : ''}${free ? ` FROM ${afterPart('gone')}` : ''} WHERE ${key}`;
  const remove = `DELETE FROM ${table} AS t WHERE ${key}`;
  const written = `RETURNING ${WRITTEN_COLUMNS}`;
  const deleted = `RETURNING ${CONTENT_COLUMNS}`;
  return {
    get: named('get', `SELECT ${CONTENT_COLUMNS} FROM ${table} AS t WHERE ${key}`),
    insert: named('insert', `${insert}${insertOver(words)} WHERE t.expires_at <= $4`),
    put: named('put', `${insert}${putOver(words, '$4')} ${written}`),
    replace: named('replace', `${replace} ${written}`),
    replaceVersion: named('replacev', `${replace} AND ${same(words ? 7 : 6)} ${written}`),
    delete: named('delete', `${remove} ${deleted}`),
    deleteVersion: named('deletev', `${remove} AND ${same(4)} ${deleted}`),
  };
}
