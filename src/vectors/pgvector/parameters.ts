/** The parameters of one statement, numbered as they are bound. Everything a caller gave is bound, never spliced. */
import type { SqlValue } from '../../pools/pool.js';
import { vectorArrayBytes, vectorBytes } from './binary.js';

export class Parameters {
  readonly values: SqlValue[] = [];

  /** @param binary whether the pool takes the binary form of a vector. */
  constructor(private readonly binary = false) {}

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
    if (this.binary) return `${this.next(vectorBytes(vector))}::vector`;
    return `${this.next(vectorText(vector))}::text::vector`;
  }

  /** @param oid of the type `vector`, where the pool takes binary forms. */
  vectors(vectors: readonly Float32Array[], oid: number | undefined): string {
    if (oid === undefined) return `${this.next(vectors.map(vectorText))}::text[]::vector[]`;
    return `${this.next(vectorArrayBytes(vectors, oid))}::vector[]`;
  }

  private next(value: SqlValue): string {
    this.values.push(value);
    return `$${this.values.length}`;
  }
}

/** Nine digits tell every float32 from its neighbours; the seventeen of a float64 would double the text. */
function vectorText(vector: Float32Array): string {
  return `[${Array.from(vector, (value) => value.toPrecision(9)).join(',')}]`;
}
