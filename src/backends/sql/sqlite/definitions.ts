/** How SQLite makes and finds tables. */
import type { Definitions } from '../dialect.js';
import { identifier } from '../expressions.js';
import { catalogueName, jsonPath, NEVER, tableName } from './expressions.js';
import { wordsText } from './words.js';

const NOTES = tableName('qm_schema');

/** The types that JSON has of a field's. */
const KINDS = {
  string: "('text')",
  date: "('text')",
  number: "('integer','real')",
  boolean: "('true','false')",
} as const;

export const definitions: Definitions = {
  catalogueName,
  tableDdl: (collection) =>
    `CREATE TABLE IF NOT EXISTS ${tableName(collection)} (` +
    'tenant TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, created_at INTEGER NOT NULL, ' +
    `updated_at INTEGER NOT NULL, expires_at INTEGER NOT NULL DEFAULT ${NEVER}, value TEXT NOT NULL, ` +
    'PRIMARY KEY (tenant, id)) STRICT',
  // Words are looked for in the tenant's rows.
  wordsIndex: undefined,
  wordsColumn: "words TEXT NOT NULL DEFAULT ''",
  notes: NOTES,
  async catalogue(pool, names, context) {
    const text =
      "SELECT m.name AS name, EXISTS (SELECT 1 FROM pragma_table_info(m.name) AS c WHERE c.name = 'words') AS words, " +
      `1 AS valid, q.note AS note FROM sqlite_schema AS m LEFT JOIN ${NOTES} AS q ON q.name = m.name ` +
      'WHERE m.name IN (SELECT value FROM json_each(?))';
    try {
      return (await pool.query(text, [JSON.stringify(names)], context)).rows;
    } catch (error) {
      // Nobody was here yet.
      if (error instanceof Error && error.message.includes('no such table')) return [];
      throw error;
    }
  },
  indexNames: (table) => ({
    text: "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?",
    values: [table],
  }),
  dropIndex: (name) => `DROP INDEX IF EXISTS ${identifier(name)}`,
  // A transaction has the whole file.
  async lock() {},
  prepare: (pool, context) =>
    pool.script(`CREATE TABLE IF NOT EXISTS ${NOTES} (name TEXT PRIMARY KEY, note TEXT NOT NULL) STRICT`, context),
  misfit(path, { type, maxBytes }) {
    const at = jsonPath(path);
    const kind = `COALESCE(json_type(t.value,${at}),'null')`;
    const text = `t.value->>${at}`;
    const fits =
      type === 'string'
        ? `length(CAST(${text} AS BLOB)) <= ${maxBytes}`
        : type === 'date'
          ? // Normalised by the modifier: 24 o'clock is the next day.
            `strftime('%Y-%m-%dT%H:%M:%fZ', ${text}, '+0 days') IS ${text}`
          : 'TRUE';
    const terms = [
      `CASE WHEN ${kind} = 'null' THEN FALSE WHEN ${kind} IN ${KINDS[type]} THEN NOT (${fits}) ELSE TRUE END`,
    ];
    for (let n = 1; n < path.length; n++) terms.push(`json_type(t.value,${jsonPath(path.slice(0, n))}) = 'array'`);
    return `(${terms.join(' OR ')})`;
  },
  // There are no regular expressions.
  numberedId: "(t.id GLOB '[a-p][1-9]*' AND substr(t.id, 3) NOT GLOB '*[^0-9]*' AND length(t.id) = unicode(t.id) - 95)",
  async saveWords(pool, table, rows, context) {
    const text = `UPDATE ${table} SET words = ? WHERE tenant = ? AND id = ?`;
    for (const row of rows) await pool.query(text, [wordsText(row.words), row.tenant, row.id], context);
  },
};
