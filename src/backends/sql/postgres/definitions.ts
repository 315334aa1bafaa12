/** How PostgreSQL makes and finds tables. */
import type { Definitions } from '../dialect.js';
import { identifier } from '../expressions.js';
import { SCHEMA, tableName } from './expressions.js';

export const definitions: Definitions = {
  catalogueName: (collection) => collection,
  tableDdl: (collection) =>
    `CREATE TABLE IF NOT EXISTS ${tableName(collection)} (` +
    'tenant text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL, version bigint NOT NULL, ' +
    'created_at timestamptz(3) NOT NULL, updated_at timestamptz(3) NOT NULL, ' +
    "expires_at timestamptz(3) NOT NULL DEFAULT 'infinity', value jsonb NOT NULL, PRIMARY KEY (tenant, id))",
  wordsIndex: 'USING gin (words)',
  wordsColumn: "IF NOT EXISTS words text[] NOT NULL DEFAULT '{}'",
  catalogue: (names) => ({
    text:
      'SELECT c.relname::text AS name, EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid ' +
      "AND a.attname = 'words' AND NOT a.attisdropped) AS words FROM pg_catalog.pg_class c " +
      'JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = ANY($2::text[])',
    values: [SCHEMA, names],
  }),
  async lock(pool, context) {
    // One lock for all: first users of the schema itself collide too.
    await pool.query('SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0))', [SCHEMA], context);
  },
  prepare: (pool, context) => pool.script(`CREATE SCHEMA IF NOT EXISTS ${identifier(SCHEMA)}`, context),
  async saveWords(pool, table, rows, context) {
    await pool.query(
      `UPDATE ${table} t SET words = ARRAY(SELECT jsonb_array_elements_text(u.words::jsonb)) ` +
        'FROM unnest($1::text[], $2::text[], $3::text[]) AS u(tenant, id, words) WHERE t.tenant = u.tenant AND t.id = u.id',
      [rows.map((row) => row.tenant), rows.map((row) => row.id), rows.map((row) => JSON.stringify(row.words))],
      context,
    );
  },
};
