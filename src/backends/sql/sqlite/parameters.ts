/** The parameters of one statement. Everything a caller gave is bound, but for numbers that not every library can bind. */
import type { FieldReference, FieldType } from '../../../filter/syntax.js';
import type { SqlValue } from '../../../pools/pool.js';
import type { Operand, Parameters } from '../dialect.js';

/** @photostructure/sqlite binds positive numbers below this as 0, so they stand in the text. */
const BINDABLE = Number.EPSILON;

/** The longest list whose items are parameters. */
const LONG = 16;

/** As the compared expression gives it: booleans as 0 and 1, times of the envelope as milliseconds. */
function storedOperand(value: Operand, source: FieldReference['source'], type: FieldType): string | number {
  if (typeof value === 'boolean') return value ? 1 : 0;
  return source === 'envelope' && type === 'date' ? Date.parse(String(value)) : value;
}

export class SqliteParameters implements Parameters {
  readonly values: SqlValue[] = [];

  add(value: SqlValue): string {
    this.values.push(value);
    return '?';
  }

  operand(value: Operand, source: FieldReference['source'], type: FieldType): string {
    const stored = storedOperand(value, source, type);
    return typeof stored === 'number' && stored > 0 && stored < BINDABLE ? String(stored) : this.add(stored);
  }

  /** What stands behind IN. A long list is one parameter: SQLite takes 32,766, and a text for each length is compiled anew. */
  list(values: readonly Operand[], source: FieldReference['source'], type: FieldType): string {
    if (values.length <= LONG) return `(${values.map((value) => this.operand(value, source, type)).join(', ')})`;
    const stored = values.map((value) => storedOperand(value, source, type));
    const item = typeof stored[0] === 'number' ? 'CAST(e.value AS REAL)' : 'e.value';
    return `(SELECT ${item} FROM json_each(${this.add(JSON.stringify(stored))}) AS e)`;
  }

  text(value: string): string {
    return this.add(value);
  }

  time(value: Date): string {
    return this.add(value.getTime());
  }

  integer(value: number): string {
    return this.add(value);
  }
}
