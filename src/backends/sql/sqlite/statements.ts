/** The statements of one key, made once for a collection. Aliases do not reach into RETURNING. */
import type { RecordSchema } from '../../backend.js';
import type { KeyStatements } from '../dialect.js';
import { CONTENT_COLUMNS } from '../row.js';
import { bySchema, insertColumns, insertOver, namedStatement, putOver } from '../statements.js';
import { tableName } from './expressions.js';

const SAME = 't.version = ? AND t.created_at = coalesce(?, t.created_at)';

export const keyStatements = bySchema((schema: RecordSchema): KeyStatements => {
  const table = tableName(schema.name);
  const words = schema.text.length > 0;
  const key = 't.tenant = ? AND t.id = ? AND t.expires_at > ?';
  const insert =
    `INSERT INTO ${table} AS t ${insertColumns(words)} VALUES (?, ?, 1, ?, ?, ?, ?${words ? ', ?' : ''}) ` +
    'ON CONFLICT (tenant, id) DO UPDATE SET ';
  const replace =
    `UPDATE ${table} AS t SET value = ?, version = t.version + 1, updated_at = ?, expires_at = ?` +
    `${words ? ', words = ?' : ''} WHERE ${key}`;
  const remove = `DELETE FROM ${table} AS t WHERE ${key}`;
  const written = 'RETURNING version, created_at';
  const deleted = 'RETURNING version, created_at, updated_at, expires_at, value';
  return {
    get: namedStatement('get', `SELECT ${CONTENT_COLUMNS} FROM ${table} AS t WHERE ${key}`, schema),
    insert: namedStatement('insert', `${insert}${insertOver(words)} WHERE t.expires_at <= excluded.updated_at`, schema),
    put: namedStatement('put', `${insert}${putOver(words, 'excluded.updated_at')} ${written}`, schema),
    replace: namedStatement('replace', `${replace} ${written}`, schema),
    replaceVersion: namedStatement('replacev', `${replace} AND ${SAME} ${written}`, schema),
    delete: namedStatement('delete', `${remove} ${deleted}`, schema),
    deleteVersion: namedStatement('deletev', `${remove} AND ${SAME} ${deleted}`, schema),
    arrange([tenant, id, now, expires, value, ...rest]) {
      const version = rest.splice(words ? 1 : 0);
      return [value!, now!, expires!, ...rest, tenant!, id!, now!, ...version];
    },
  };
});
