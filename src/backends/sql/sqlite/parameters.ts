/** The parameters of one statement. Everything a caller gave is bound, but for numbers that not every library can bind. */
import type { FieldReference, FieldType } from '../../../filter/syntax.js';
import type { SqlValue } from '../../../pools/pool.js';
import type { Operand, Parameters } from '../dialect.js';

/** @photostructure/sqlite binds positive numbers below this as 0, so they stand in the text. */
const BINDABLE = Number.EPSILON;

export class SqliteParameters implements Parameters {
  readonly values: SqlValue[] = [];

  add(value: SqlValue): string {
    this.values.push(value);
    return '?';
  }

  operand(value: Operand, source: FieldReference['source'], type: FieldType): string {
    if (typeof value === 'boolean') return this.add(value ? 1 : 0);
    if (typeof value === 'number' && value > 0 && value < BINDABLE) return String(value);
    return this.add(source === 'envelope' && type === 'date' ? Date.parse(String(value)) : value);
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
