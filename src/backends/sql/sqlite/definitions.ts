/** How SQLite makes and finds tables. */
import type { Definitions } from '../dialect.js';
import { catalogueName, NEVER, tableName } from './expressions.js';
import { wordsText } from './words.js';

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
  catalogue: (names) => ({
    text:
      "SELECT m.name AS name, EXISTS (SELECT 1 FROM pragma_table_info(m.name) AS c WHERE c.name = 'words') AS words " +
      'FROM sqlite_schema AS m WHERE m.name IN (SELECT value FROM json_each(?))',
    values: [JSON.stringify(names)],
  }),
  // A transaction has the whole file.
  async lock() {},
  async prepare() {},
  async saveWords(pool, table, rows, context) {
    const text = `UPDATE ${table} SET words = ? WHERE tenant = ? AND id = ?`;
    for (const row of rows) await pool.query(text, [wordsText(row.words), row.tenant, row.id], context);
  },
};
