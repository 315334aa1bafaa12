/** The parameters of one statement, numbered as they are bound. Everything a caller gave is bound, never spliced. */
import type { SqlValue } from '../../pools/pool.js';

export class Parameters {
  readonly values: SqlValue[] = [];

  text(value: string): string {
    return `${this.next(value)}::text`;
  }

  texts(values: readonly (string | null)[]): string {
    return `${this.next(values)}::text[]`;
  }

  integer(value: number): string {
    return `${this.next(value)}::integer`;
  }

  /** As text, because drivers differ in what they make of a string bound to jsonb. */
  json(value: unknown): string {
    return `${this.next(JSON.stringify(value))}::text::jsonb`;
  }

  jsonList(values: readonly unknown[]): string {
    return `${this.next(values.map((value) => JSON.stringify(value)))}::text[]::jsonb[]`;
  }

  vector(vector: Float32Array): string {
    return `${this.next(vectorText(vector))}::text::vector`;
  }

  private next(value: SqlValue): string {
    this.values.push(value);
    return `$${this.values.length}`;
  }
}

export function vectorText(vector: Float32Array): string {
  return `[${vector.join(',')}]`;
}
