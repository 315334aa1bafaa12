/** The parameters of one statement, numbered as they are bound. Everything a caller gave is bound, never spliced. */
import type { FieldReference, FieldType } from '../../../filter/syntax.js';
import type { SqlValue } from '../../../pools/pool.js';
import { isoText } from '../../value.js';
import type { Operand, Parameters } from '../dialect.js';

export type SqlType = 'text' | 'float8' | 'boolean' | 'timestamptz' | 'integer';

export class PostgresParameters implements Parameters {
  readonly values: SqlValue[] = [];

  add(value: SqlValue, type: SqlType): string {
    this.values.push(value);
    return `$${this.values.length}::${type}`;
  }

  operand(value: Operand, source: FieldReference['source'], fieldType: FieldType): string {
    const type = bindType(source, fieldType);
    return this.add(bindValue(value, type), type);
  }

  text(value: string): string {
    return this.add(value, 'text');
  }

  time(value: Date): string {
    return this.add(timeText(value), 'timestamptz');
  }

  integer(value: number): string {
    return this.add(value, 'integer');
  }

  /** Operands of a field as one array. */
  operands(values: readonly Operand[], source: FieldReference['source'], fieldType: FieldType): string {
    const type = bindType(source, fieldType);
    return this.list(
      values.map((value) => bindValue(value, type)),
      type,
    );
  }

  list(values: readonly SqlValue[], type: SqlType): string {
    this.values.push(values);
    return `$${this.values.length}::${type}[]`;
  }

  /** As text, because drivers differ in what they make of a string bound to jsonb. */
  json(value: unknown): string {
    this.values.push(JSON.stringify(value));
    return `$${this.values.length}::text::jsonb`;
  }

  jsonList(values: readonly unknown[]): string {
    this.values.push(values.map((value) => JSON.stringify(value)));
    return `$${this.values.length}::text[]::jsonb[]`;
  }
}

/** The type an operand of a field is bound as. Dates inside values are text; those of the envelope are not. */
function bindType(source: FieldReference['source'], type: FieldType): SqlType {
  switch (type) {
    case 'number':
      return 'float8';
    case 'boolean':
      return 'boolean';
    case 'string':
      return 'text';
    case 'date':
      return source === 'envelope' ? 'timestamptz' : 'text';
  }
}

/** An operand as it is bound. */
function bindValue(value: Operand, type: SqlType): SqlValue {
  return type === 'timestamptz' && typeof value === 'string' ? timeText(new Date(value)) : value;
}

/** A time as PostgreSQL reads it: it has no year 0, and no sign before years beyond 9999. */
export function timeText(time: Date): string {
  const text = isoText(time);
  const first = text.charCodeAt(0);
  if (first === 43) return text.slice(1);
  if (first !== 45 && !text.startsWith('0000')) return text;
  const year = 1 - time.getUTCFullYear();
  return `${String(year).padStart(4, '0')}${text.slice(text.indexOf('-', 1))} BC`;
}

export function expiryText(time: Date | null | undefined): string {
  return time === undefined || time === null ? 'infinity' : timeText(time);
}
