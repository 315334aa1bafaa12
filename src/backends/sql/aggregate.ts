/** Counts and sums by the values of fields, in one statement. */
import type { Scalar } from '../../filter/syntax.js';
import type { AggregateGroup, AggregateRequest, NumberSummary, Scope } from '../backend.js';
import type { Dialect, Row, Statement, TypedField } from './dialect.js';
import { keyExpression } from './expressions.js';
import { whereLive } from './find.js';

export function aggregateStatement(dialect: Dialect, scope: Scope, request: AggregateRequest, now: Date): Statement {
  const { collection, filter, by, numbers, limit } = request;
  const parameters = dialect.parameters();
  // What is grouped by is declared, and so has a type.
  const keys = by.map((field, i) => `${keyExpression(dialect, field as TypedField, 't.')} AS k${i}`);
  const sums = numbers.map(({ path }, i) => {
    const number = dialect.summand(path);
    return `count(${number}) AS c${i}, sum(${number}) AS s${i}, min(${number}) AS l${i}, max(${number}) AS h${i}`;
  });
  const columns = [...keys, `${dialect.count} AS count`, ...sums].join(', ');
  const where = whereLive(dialect, scope, filter, now, parameters);
  // By place: an expression of the key's would have to be found equal again.
  const groups = keys.length === 0 ? '' : ` GROUP BY ${keys.map((_, i) => i + 1).join(', ')}`;
  const bound = parameters.integer(limit);
  return {
    text: `SELECT ${columns} FROM ${dialect.tableName(collection.name)} t WHERE ${where}${groups} LIMIT ${bound}`,
    parameters,
  };
}

export function readGroups({ by, numbers }: AggregateRequest, rows: readonly Row[]): AggregateGroup[] {
  const groups: AggregateGroup[] = [];
  for (const row of rows) {
    const count = Number(row['count']);
    // Without keys there is a row of nothing too.
    if (count === 0) continue;
    const key = by.map(({ type }, i) => readKey(row[`k${i}`], type === 'boolean'));
    groups.push({ key, count, numbers: numbers.map((_, i) => readSummary(row, i)) });
  }
  return groups;
}

function readKey(value: unknown, boolean: boolean): Scalar {
  // SQLite's booleans are numbers.
  return boolean && value !== null ? Boolean(value) : (value as Scalar);
}

function readSummary(row: Row, i: number): NumberSummary {
  const count = Number(row[`c${i}`]);
  if (count === 0) return { count, sum: 0 };
  return { count, sum: Number(row[`s${i}`]), min: Number(row[`l${i}`]), max: Number(row[`h${i}`]) };
}
