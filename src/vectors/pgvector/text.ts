/** Searching texts by their words. */
import type { TextSearch, VectorSchema, VectorScope } from '../provider.js';
import { Parameters } from './parameters.js';
import { columnsOf, type Statement } from './rows.js';
import { scoped } from './statements.js';
import { tableName } from './table.js';
import { quoted } from './words.js';

/** Ranked by how near to each other the words stand (`ts_rank_cd`). */
export function textStatement(schema: VectorSchema, scope: VectorScope, request: TextSearch): Statement {
  const { words, topK, filter, include } = request;
  const parameters = new Parameters();
  const query =
    schema.text?.language === 'simple'
      ? `${parameters.text(words.map(quoted).join(' & '))}::tsquery`
      : `plainto_tsquery('${schema.text!.language}', ${parameters.text(words.join(' '))})`;
  const where = `${scoped(scope, filter, parameters)} AND words @@ ${query}`;
  return {
    parameters,
    text:
      `SELECT ${columnsOf(include)}, ts_rank_cd(words, ${query}) AS rank FROM ${tableName(schema)} WHERE ${where} ` +
      `ORDER BY rank DESC, id LIMIT ${parameters.integer(topK)}`,
  };
}
