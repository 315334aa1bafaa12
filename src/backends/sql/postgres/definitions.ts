/** How PostgreSQL makes and finds tables. */
import { DATE_TEXT } from '../../declaration.js';
import { SEQUENCE_ID } from '../../sequence-id.js';
import type { Definitions } from '../dialect.js';
import { identifier, literal } from '../expressions.js';
import { sqlFault } from '../fault.js';
import { jsonAt, SCHEMA, tableName } from './expressions.js';
import { timeText } from './parameters.js';

const NOTES = tableName('qm_schema');
// Who may not make schemas is refused before the server looks whether this one is there.
const SCHEMA_DDL = `IF to_regnamespace(${literal(SCHEMA)}) IS NULL THEN CREATE SCHEMA IF NOT EXISTS ${identifier(SCHEMA)}; END IF`;
const NOTES_DDL = `CREATE TABLE IF NOT EXISTS ${NOTES} (name text PRIMARY KEY, note text NOT NULL)`;
// One lock for all: first users of the schema itself collide too.
const LOCK = `SELECT pg_advisory_xact_lock(hashtextextended(${literal(SCHEMA)}, 0))`;

/** How long those who write may have to wait for a column, in milliseconds. */
const HELD_UP = 200;

export const definitions: Definitions = {
  catalogueName: (collection) => collection,
  tableDdl: (collection) =>
    `CREATE TABLE IF NOT EXISTS ${tableName(collection)} (` +
    'tenant text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL, version bigint NOT NULL, ' +
    'created_at timestamptz(3) NOT NULL, updated_at timestamptz(3) NOT NULL, ' +
    "expires_at timestamptz(3) NOT NULL DEFAULT 'infinity', value jsonb NOT NULL, PRIMARY KEY (tenant, id))",
  wordsIndex: 'USING gin (words)',
  wordsColumn: "IF NOT EXISTS words text[] NOT NULL DEFAULT '{}'",
  notes: NOTES,
  async catalogue(pool, names, context) {
    const text =
      'SELECT c.relname::text AS name, EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid ' +
      "AND a.attname = 'words' AND NOT a.attisdropped) AS words, COALESCE(i.indisvalid, true) AS valid, q.note " +
      'FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ' +
      `LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid LEFT JOIN ${NOTES} q ON q.name = c.relname ` +
      'WHERE n.nspname = $1 AND c.relname = ANY($2::text[])';
    try {
      return (await pool.query(text, [SCHEMA, names], context)).rows;
    } catch (error) {
      // Nobody was here yet.
      if (sqlFault(error)?.state === '42P01') return [];
      throw error;
    }
  },
  indexNames: (table) => ({
    text: 'SELECT indexname::text AS name FROM pg_catalog.pg_indexes WHERE schemaname = $1 AND tablename = $2',
    values: [SCHEMA, table],
  }),
  dropIndex: (name) => `DROP INDEX IF EXISTS ${identifier(SCHEMA)}.${identifier(name)}`,
  async lock(pool, context) {
    await pool.query(LOCK, [], context);
  },
  prepare: (pool, context) => pool.script(`DO $$ BEGIN ${SCHEMA_DDL}; END $$; ${NOTES_DDL}`, context),
  misfit(path, { type, maxBytes }) {
    const json = jsonAt(path, 't.value');
    const parent = path.length === 1 ? 't.value' : jsonAt(path.slice(0, -1), 't.value');
    const text = `(${parent}->>${literal(path.at(-1)!)})`;
    const own = type === 'date' ? 'string' : type;
    const fits =
      type === 'string'
        ? `octet_length(${text}) <= ${maxBytes}`
        : type === 'date'
          ? `${text} COLLATE "C" ~ ${literal(DATE_TEXT)}`
          : 'TRUE';
    const kind = `COALESCE(jsonb_typeof(${json}), 'null')`;
    const terms = [`CASE ${kind} WHEN 'null' THEN FALSE WHEN '${own}' THEN NOT (${fits}) ELSE TRUE END`];
    for (let n = 1; n < path.length; n++) terms.push(`jsonb_typeof(${jsonAt(path.slice(0, n), 't.value')}) = 'array'`);
    return `(${terms.join(' OR ')})`;
  },
  numberedId: `t.id ~ ${literal(SEQUENCE_ID)}`,
  async saveWords(pool, table, rows, context) {
    await pool.query(
      `UPDATE ${table} t SET words = u.words FROM (SELECT w.tenant, w.id, w.version, w.created, ` +
        'ARRAY(SELECT jsonb_array_elements_text(w.words::jsonb)) AS words ' +
        'FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) AS w(tenant, id, version, created, words)) u ' +
        'WHERE t.tenant = u.tenant AND t.id = u.id AND t.version = u.version::bigint ' +
        'AND t.created_at = u.created::timestamptz AND t.words IS DISTINCT FROM u.words',
      [
        rows.map((row) => row.tenant),
        rows.map((row) => row.id),
        rows.map((row) => String(row.version)),
        rows.map((row) => timeText(row.createdAt)),
        rows.map((row) => JSON.stringify(row.words)),
      ],
      context,
    );
  },
  shared: {
    createOnce(tables) {
      const parts = tables.map(
        ({ name, statements }) =>
          `IF to_regclass(${literal(tableName(name))}) IS NULL THEN ${statements.join('; ')}; END IF;`,
      );
      const body = `BEGIN ${SCHEMA_DDL}; ${NOTES_DDL}; ${parts.join(' ')} END`;
      let tag = '$make$';
      while (body.includes(tag)) tag = `$${tag.slice(1, -1)}_$`;
      return `${LOCK}; DO ${tag}${body}${tag}`;
    },
    addColumn: (table, column) => `SET LOCAL lock_timeout = ${HELD_UP}; ALTER TABLE ${table} ADD COLUMN ${column}`,
    isHeldUp: (error) => sqlFault(error)?.state === '55P03',
    isPartitioned: (error) => sqlFault(error)?.state === '0A000',
    hold: (table) => `LOCK TABLE ${table} IN SHARE UPDATE EXCLUSIVE MODE`,
    async isHeld(pool, table, context) {
      // Also the build of a process that was killed: the server goes on with it. A vacuum gives way to a change.
      const text =
        'SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_locks l WHERE l.relation = $1::text::regclass ' +
        "AND l.locktype = 'relation' AND l.mode = 'ShareUpdateExclusiveLock' AND l.database = " +
        '(SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()) ' +
        'AND l.pid NOT IN (SELECT v.pid FROM pg_catalog.pg_stat_progress_vacuum v)) AS held';
      const { rows } = await pool.query(text, [table], context);
      return rows[0]?.['held'] === true;
    },
    dropIndex: (name) => `DROP INDEX CONCURRENTLY IF EXISTS ${identifier(SCHEMA)}.${identifier(name)}`,
  },
};
