/** The statements of one key, made once for a collection. */
import type { RecordSchema } from '../backend.js';
import { tableName } from './expressions.js';
import { CONTENT_COLUMNS, WRITTEN_COLUMNS } from './row.js';

export interface KeyStatement {
  readonly text: string;
  /** The name under which a server may keep the plan; it stands for this text only. */
  readonly options: { readonly name: string };
}

export interface KeyStatements {
  /** Parameters: tenant, id, now. */
  readonly get: KeyStatement;
  /** Parameters: tenant, id, created, now, expires, value, and words where text is declared. */
  readonly insert: KeyStatement;
  readonly put: KeyStatement;
  /** Parameters: tenant, id, now, expires, value, words where text is declared, and the version where one is asked. */
  readonly replace: KeyStatement;
  readonly replaceVersion: KeyStatement;
  /** Parameters: tenant, id, now, and the version where one is asked. */
  readonly delete: KeyStatement;
  readonly deleteVersion: KeyStatement;
}

const STATEMENTS = new WeakMap<RecordSchema, KeyStatements>();

export function keyStatements(schema: RecordSchema): KeyStatements {
  let statements = STATEMENTS.get(schema);
  if (statements === undefined) {
    statements = makeStatements(schema);
    STATEMENTS.set(schema, statements);
  }
  return statements;
}

/** What an insert does to the row it meets: start the record again. */
export function insertOver(words: boolean): string {
  return (
    'version = 1, created_at = excluded.created_at, updated_at = excluded.updated_at, ' +
    `expires_at = excluded.expires_at, value = excluded.value${words ? ', words = excluded.words' : ''}`
  );
}

/** What a put does to the row it meets; an expired one is no record. */
export function putOver(words: boolean, now: string): string {
  return (
    `version = CASE WHEN t.expires_at > ${now} THEN t.version + 1 ELSE 1 END, ` +
    `created_at = CASE WHEN t.expires_at > ${now} THEN t.created_at ELSE excluded.created_at END, ` +
    'updated_at = excluded.updated_at, expires_at = excluded.expires_at, value = excluded.value' +
    (words ? ', words = excluded.words' : '')
  );
}

export function insertColumns(words: boolean): string {
  return `(tenant, id, version, created_at, updated_at, expires_at, value${words ? ', words' : ''})`;
}

function makeStatements(schema: RecordSchema): KeyStatements {
  const table = tableName(schema.name);
  const words = schema.text.length > 0;
  const statement = (kind: string, text: string): KeyStatement => ({
    text,
    // At most 63 bytes: PostgreSQL cuts longer ones.
    options: { name: `${kind} ${schema.name}${words ? ' w' : ''}` },
  });
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
    get: statement('get', `SELECT ${CONTENT_COLUMNS} FROM ${table} AS t WHERE ${key}`),
    // What it writes is known, so it returns nothing: the number of affected rows tells.
    insert: statement('insert', `${insert}${insertOver(words)} WHERE t.expires_at <= $4`),
    put: statement('put', `${insert}${putOver(words, '$4')} ${written}`),
    replace: statement('replace', `${replace} ${written}`),
    replaceVersion: statement('replacev', `${replace} AND t.version = ${words ? '$7' : '$6'}::float8 ${written}`),
    delete: statement('delete', `${remove} ${deleted}`),
    deleteVersion: statement('deletev', `${remove} AND t.version = $4::float8 ${deleted}`),
  };
}
