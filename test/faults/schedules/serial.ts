/** Whether what happened could have happened one unit after another. */
import { apply, INITIAL, type Seen, type State, type Unit } from './schedule.js';

/** A unit that was committed, with what each of its operations saw. */
export interface Committed {
  readonly unit: Unit;
  readonly seen: readonly Seen[];
}

export interface History {
  readonly committed: readonly Committed[];
  readonly final: State;
}

/** The order in which the units would have seen and left the same; `undefined`: there is none. */
export function serialOrder({ committed, final }: History): readonly string[] | undefined {
  for (const order of permutations(committed)) {
    const state = new Map(INITIAL);
    const fits = order.every(({ unit, seen }) =>
      unit.operations.every((operation, i) => apply(operation, state, unit.name, seen.slice(0, i)) === seen[i]),
    );
    if (fits && state.size === final.size && [...final].every(([id, n]) => state.get(id) === n))
      return order.map(({ unit }) => unit.name);
  }
  return undefined;
}

function* permutations<T>(items: readonly T[]): Generator<readonly T[]> {
  if (items.length === 0) yield [];
  for (const [i, first] of items.entries())
    for (const rest of permutations([...items.slice(0, i), ...items.slice(i + 1)])) yield [first, ...rest];
}
