/**
 * What this process has written and may not see yet. Each write to a namespace has a number in its log, above those before
 * it; a read says up to which number it has seen.
 */
import { UnsupportedError } from '../../errors.js';
import type { VectorSchema } from '../provider.js';

export interface Pending {
  readonly schema: VectorSchema;
  readonly namespace: string;
  /** `undefined`: the service did not say. */
  readonly mark: number | undefined;
}

/** Namespaces whose last write was never seen to be indexed; the one written longest ago is forgotten first. */
const MAX_PENDING = 100_000;

export class Freshness {
  private readonly writes = new Map<string, Pending>();

  constructor(private readonly component: string) {}

  wrote(schema: VectorSchema, namespace: string, mark: number | undefined): void {
    const key = keyOf(schema.name, namespace);
    const before = this.writes.get(key);
    this.writes.delete(key);
    const latest = mark === undefined || before === undefined ? mark : Math.max(mark, before.mark ?? mark);
    this.writes.set(key, { schema, namespace, mark: latest });
    if (this.writes.size <= MAX_PENDING) return;
    for (const oldest of this.writes.keys()) {
      this.writes.delete(oldest);
      return;
    }
  }

  /**
   * Whether a read that has seen `indexed` has seen what was written here.
   * @throws `UNSUPPORTED` where the service does not tell.
   */
  isFresh(schema: VectorSchema, namespace: string, indexed: number | undefined): boolean {
    const key = keyOf(schema.name, namespace);
    const pending = this.writes.get(key);
    if (pending === undefined) return true;
    if (pending.mark === undefined || indexed === undefined)
      throw new UnsupportedError(
        "consistency: the service does not tell which writes a read has seen (it answers without its log's numbers)",
        { component: this.component },
      );
    if (indexed < pending.mark) return false;
    this.writes.delete(key);
    return true;
  }

  pending(): Pending[] {
    return [...this.writes.values()];
  }

  /** A collection that is gone, or made anew. */
  forget(name: string): void {
    for (const [key, { schema }] of this.writes) if (schema.name === name) this.writes.delete(key);
  }
}

function keyOf(name: string, namespace: string): string {
  return `${name}\n${namespace}`;
}
