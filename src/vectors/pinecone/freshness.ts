/**
 * What this process has written and may not see yet. Each write to a namespace has a number in its log, above those before
 * it; a read says up to which number it has seen.
 */
import type { Clock } from '../../clock.js';
import { UnsupportedError } from '../../errors.js';
import type { VectorSchema } from '../provider.js';

/** What was written to a namespace last. */
export interface Write {
  readonly schema: VectorSchema;
  readonly namespace: string;
  /** Of the index: one that is made anew under its name counts from the beginning. */
  readonly made: string;
  /** `undefined`: the service did not say. */
  readonly mark: number | undefined;
  /** Of `begin`. */
  readonly began: number;
  /** What the namespace has after it. Where that is nothing, it may be gone, and the next one counts anew. */
  readonly leaves: 'records' | 'nothing' | 'unknown';
}

/** How far a read was. */
export interface Sight {
  readonly made: string;
  readonly indexed?: number;
  /** There was no such namespace. */
  readonly isAbsent: boolean;
}

type Place = Pick<Write, 'schema' | 'namespace'>;
interface Kept extends Write {
  /** In the order of `began`. */
  readonly ended: number;
  /** When that was. */
  readonly at: number;
  seen: number | undefined;
}

/** Namespaces whose last write is remembered; the one written longest ago is forgotten first. */
const MAX_WRITES = 100_000;

/**
 * Milliseconds for which a write that a read has seen is waited for all the same: the next read may be another reader's,
 * which is behind. Not for ever, because a namespace that another process empties may count anew.
 */
const KEPT = 60_000;

export class Freshness {
  private readonly writes = new Map<string, Kept>();
  private turns = 0;

  constructor(
    private readonly component: string,
    private readonly clock: Clock,
  ) {}

  /** To be called before a write is sent. @returns its place among the others of this process. */
  begin(): number {
    return ++this.turns;
  }

  wrote(write: Write): void {
    const key = keyOf(write, write.made);
    const before = this.writes.get(key);
    this.writes.delete(key);
    const kept = { ...write, ended: this.begin(), at: this.clock.monotonic() };
    this.writes.set(key, { ...(before === undefined || isLater(write, before) ? kept : before), seen: undefined });
    if (this.writes.size <= MAX_WRITES) return;
    for (const oldest of this.writes.keys()) {
      this.writes.delete(oldest);
      return;
    }
  }

  /**
   * Whether a read has seen what was written here.
   * @throws `UNSUPPORTED` where the service does not tell.
   */
  isFresh(place: Place, { made, indexed, isAbsent }: Sight): boolean {
    const key = keyOf(place, made);
    const write = this.writes.get(key);
    if (write === undefined) return true;
    const now = this.clock.monotonic();
    if (write.seen !== undefined && now - write.seen > KEPT) return this.writes.delete(key);
    // Who has seen nothing of the log shows what is left when nothing is.
    if (write.leaves !== 'nothing' || !(isAbsent || indexed === 0)) {
      const seen = isAbsent ? 0 : indexed;
      if (write.mark === undefined || seen === undefined)
        throw new UnsupportedError(
          "consistency: the service does not tell which writes a read has seen (it answers without its log's numbers)",
          { component: this.component },
        );
      if (seen < write.mark) return false;
    }
    write.seen ??= now;
    return true;
  }

  /** Whether a namespace must be there: this process wrote records to it lately. Others may empty it, so not for ever. */
  isThere(place: Place, made: string): boolean {
    const write = this.writes.get(keyOf(place, made));
    return write?.leaves === 'records' && this.clock.monotonic() - write.at <= KEPT;
  }

  /** What no read has seen yet. */
  pending(): Write[] {
    return [...this.writes.values()].filter(({ seen }) => seen === undefined);
  }

  /** Nothing has to be waited for there any more. */
  settled({ made, ...place }: Write): void {
    const write = this.writes.get(keyOf(place, made));
    if (write !== undefined) write.seen ??= this.clock.monotonic();
  }

  /** A collection that is gone. */
  forget(name: string): void {
    for (const [key, { schema }] of this.writes) if (schema.name === name) this.writes.delete(key);
  }
}

/** Of two writes at the same time the numbers tell, which may begin anew between two that follow one another. */
function isLater({ began, mark }: Write, before: Kept): boolean {
  return began > before.ended || mark === undefined || mark >= (before.mark ?? mark);
}

function keyOf({ schema, namespace }: Place, made: string): string {
  return `${schema.name}\n${made}\n${namespace}`;
}
