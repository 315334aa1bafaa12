/** Units that run at the same time, drawn from a seed: three or four, each of two to four operations on three records. */
import { random } from '../../support/random.js';

export type Operation =
  | { readonly kind: 'read' | 'increment' | 'delete'; readonly id: string }
  /** What is written follows from all that the unit has seen. */
  | { readonly kind: 'write'; readonly id: string }
  /** How many records have at least so much. */
  | { readonly kind: 'count'; readonly least: number };

export interface Unit {
  readonly name: string;
  readonly operations: readonly Operation[];
  /** Milliseconds of the clock before the first operation and after each. */
  readonly pauses: readonly number[];
  readonly ending: 'commit' | 'throw';
  /** One operation on the storage itself, outside of any transaction. */
  readonly bare: boolean;
}

export interface Schedule {
  readonly seed: number;
  readonly units: readonly Unit[];
}

/** What one operation saw; `null`: no record. */
export type Seen = number | null;
export type State = ReadonlyMap<string, number>;

export const IDS = ['a', 'b', 'c'];
export const INITIAL: State = new Map([
  ['a', 10],
  ['b', 20],
]);

export function drawSchedule(seed: number): Schedule {
  const draw = random(seed);
  const below = (limit: number): number => Math.floor(draw() * limit);
  const operation = (): Operation => {
    const id = IDS[below(IDS.length)]!;
    const kind = (['read', 'read', 'write', 'write', 'increment', 'delete', 'count'] as const)[below(7)]!;
    return kind === 'count' ? { kind, least: 5 + below(20) } : { kind, id };
  };
  const units = Array.from({ length: 3 + below(2) }, (_, i): Unit => {
    const bare = draw() < 0.15;
    const operations = Array.from({ length: bare ? 1 : 2 + below(3) }, operation);
    const pauses = Array.from({ length: operations.length + 1 }, () => (draw() < 0.5 ? 0 : below(4)));
    return { name: `u${i}`, operations, pauses, bare, ending: !bare && draw() < 0.1 ? 'throw' : 'commit' };
  });
  return { seed, units };
}

/** What a unit writes after it has seen so much: two units, and two courses of one, hardly ever write the same. */
export function valueOf(unit: string, seen: readonly Seen[]): number {
  let value = unit.charCodeAt(1);
  for (const one of seen) value = (value * 31 + (one ?? 7)) % 9_973;
  return value;
}

/** One operation on a state of its own: what all databases are held to. */
export function apply(operation: Operation, state: Map<string, number>, unit: string, seen: readonly Seen[]): Seen {
  switch (operation.kind) {
    case 'read':
      return state.get(operation.id) ?? null;
    case 'count':
      return [...state.values()].filter((n) => n >= operation.least).length;
    case 'write':
      state.set(operation.id, valueOf(unit, seen));
      return null;
    case 'increment': {
      const found = state.get(operation.id);
      if (found === undefined) return null;
      state.set(operation.id, found + 1);
      return found + 1;
    }
    case 'delete':
      return state.delete(operation.id) ? 1 : null;
  }
}
