/** The parameters of one statement. Everything a caller gave is bound, never spliced. */
import type { FieldReference, FieldType } from '../../../filter/syntax.js';
import type { SqlValue } from '../../../pools/pool.js';
import type { Operand, Parameters } from '../dialect.js';

export class SqliteParameters implements Parameters {
  readonly values: SqlValue[] = [];

  add(value: SqlValue): string {
    this.values.push(value);
    return '?';
  }

  operand(value: Operand, source: FieldReference['source'], type: FieldType): string {
    if (typeof value === 'boolean') return this.add(value ? 1 : 0);
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
