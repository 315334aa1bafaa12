/** What the statements of one key have in common. */
import type { RecordSchema } from '../backend.js';
import type { KeyStatement, KeyStatements } from './dialect.js';

/** Makes the statements of a collection once. */
export function bySchema(make: (schema: RecordSchema) => KeyStatements): (schema: RecordSchema) => KeyStatements {
  const made = new WeakMap<RecordSchema, KeyStatements>();
  return (schema) => {
    let statements = made.get(schema);
    if (statements === undefined) made.set(schema, (statements = make(schema)));
    return statements;
  };
}

export function namedStatement(kind: string, text: string, schema: RecordSchema): KeyStatement {
  // At most 63 bytes: PostgreSQL cuts longer ones.
  const name = `${kind} ${schema.name}${schema.text.length > 0 ? ' w' : ''}`;
  return { text, options: { name, single: kind === 'get' } };
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
