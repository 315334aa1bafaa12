/** What the stand-in keeps: indexes, their namespaces, and of each the log of its writes. */
import type { Metadata } from './filter.js';

export type Sparse = ReadonlyMap<number, number>;

export interface Row {
  readonly id: string;
  /** Empty in a sparse index. */
  readonly values: Float32Array;
  readonly sparse: Sparse | undefined;
  readonly metadata: Metadata;
}

export type Rows = Map<string, Row>;

interface Write {
  readonly number: number;
  readonly apply: (rows: Rows) => void;
  readonly isErasure: boolean;
  reads: number;
}

export class Namespace {
  private readonly rows: Rows = new Map();
  private readonly pending: Write[] = [];
  private written = 0;
  private indexed = 0;
  private erased = false;

  /** How many records there are as reads see them. */
  get size(): number {
    return this.rows.size;
  }

  /** What reads see now. */
  get visible(): Rows {
    return this.rows;
  }

  /** Whether the last write took everything, and reads see it. */
  get isErased(): boolean {
    return this.erased && this.pending.length === 0;
  }

  /** @returns the number of the write. */
  write(apply: (rows: Rows) => void, lag: number, isErasure = false): number {
    this.pending.push({ number: ++this.written, apply, isErasure, reads: 0 });
    if (lag === 0) this.index(0);
    return this.written;
  }

  /** What a read sees, which is one more of those that a write has to wait for. */
  read(lag: number): { readonly rows: Rows; readonly indexed: number } {
    this.index(lag);
    return { rows: this.rows, indexed: this.indexed };
  }

  private index(lag: number): void {
    while (this.pending.length > 0 && this.pending[0]!.reads >= lag) {
      const write = this.pending.shift()!;
      write.apply(this.rows);
      this.indexed = write.number;
      this.erased = write.isErasure;
    }
    for (const write of this.pending) write.reads++;
  }
}

export interface IndexState {
  readonly name: string;
  /** `undefined`: of a sparse index. */
  readonly dimension: number | undefined;
  readonly metric: string;
  readonly cloud: string;
  readonly region: string;
  tags: Record<string, string>;
  deletionProtection: string;
  /** How often it is still described as not ready, or as being deleted. */
  unready: number;
  terminating: number | undefined;
  readonly namespaces: Map<string, Namespace>;
}
