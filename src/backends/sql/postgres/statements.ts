/** The statements of one key, made once for a collection. */
import type { RecordSchema } from '../../backend.js';
import type { KeyStatements } from '../dialect.js';
import { CONTENT_COLUMNS } from '../row.js';
import { bySchema, insertColumns, insertOver, namedStatement, putOver } from '../statements.js';
import { tableName } from './expressions.js';

/** What a write returns that knows its value. */
export const WRITTEN_COLUMNS = 't.version, t.created_at';

export const keyStatements = bySchema((schema: RecordSchema): KeyStatements => {
  const table = tableName(schema.name);
  const words = schema.text.length > 0;
  const key = 't.tenant = $1 AND t.id = $2 AND t.expires_at > $3';
  const insert =
    `INSERT INTO ${table} AS t ${insertColumns(words)} ` +
    `VALUES ($1, $2, 1, $3, $4::timestamptz, $5, $6::text::jsonb${words ? ', $7::text[]' : ''}) ` +
    'ON CONFLICT (tenant, id) DO UPDATE SET ';
  const replace =
    `UPDATE ${table} AS t SET value = $5::text::jsonb, version = t.version + 1, updated_at = $3::timestamptz, ` +
    `expires_at = $4${words ? ', words = $6::text[]' : ''} WHERE ${key}`;
  const remove = `DELETE FROM ${table} AS t WHERE ${key}`;
  const written = `RETURNING ${WRITTEN_COLUMNS}`;
  const deleted = `RETURNING ${CONTENT_COLUMNS}`;
  return {
    get: namedStatement('get', `SELECT ${CONTENT_COLUMNS} FROM ${table} AS t WHERE ${key}`, schema),
    insert: namedStatement('insert', `${insert}${insertOver(words)} WHERE t.expires_at <= $4`, schema),
    put: namedStatement('put', `${insert}${putOver(words, '$4')} ${written}`, schema),
    replace: namedStatement('replace', `${replace} ${written}`, schema),
    replaceVersion: namedStatement(
      'replacev',
      `${replace} AND t.version = ${words ? '$7' : '$6'}::float8 ${written}`,
      schema,
    ),
    delete: namedStatement('delete', `${remove} ${deleted}`, schema),
    deleteVersion: namedStatement('deletev', `${remove} AND t.version = $4::float8 ${deleted}`, schema),
  };
});
