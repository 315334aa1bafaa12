/** The ids that a collection makes. */
import { randomInt } from 'node:crypto';
import { v7 } from 'uuid';
import type { OperationContext } from '../component.js';
import { invalid } from '../errors.js';
import type { RecordBackend, TenantScope } from '../backends/backend.js';
import { skipNumber, takeNumbers } from './counters.js';
import { decodeSequenceId, encodeSequenceId } from '../backends/sequence-id.js';
import type { CollectionDefinition } from './definition.js';
import { takeRandom } from './random.js';

let lastTime = 0;
let sequence = 0;

/**
 * A UUID of version 7 at `now`, greater than every one made before it in this process: the order of ids is the order of
 * insertion, also within a millisecond and when the clock is set back.
 */
export function makeUuid(now: Date): string {
  const time = now.getTime();
  if (time > lastTime || ++sequence > 0xffff_ffff) {
    lastTime = Math.max(time, lastTime + 1);
    // From a random start, with room to count: two processes in one millisecond do not meet.
    sequence = randomInt(2 ** 31);
  }
  return v7({ msecs: lastTime, seq: sequence, random: takeRandom(16) });
}

export class IdSource {
  constructor(
    private readonly definition: Pick<CollectionDefinition<unknown>, 'name' | 'ids'>,
    private readonly backend: RecordBackend,
    private readonly scope: TenantScope,
  ) {}

  /** As `resolve`, for one record. */
  resolveOne(given: string | undefined, context: OperationContext): string | Promise<string> {
    const { ids } = this.definition;
    if (ids === 'uuid') return given ?? makeUuid(context.now);
    if (ids === 'given' && given !== undefined) return given;
    const resolved = this.resolve([given], context);
    return Array.isArray(resolved) ? resolved[0]! : resolved.then(([id]) => id!);
  }

  /** The ids under which new records are stored: those given (in their stored form), and new ones for the others. */
  resolve(given: readonly (string | undefined)[], context: OperationContext): string[] | Promise<string[]> {
    const missing = given.filter((id) => id === undefined).length;
    switch (this.definition.ids) {
      case 'given':
        if (missing > 0) throw invalid('id', undefined, `an id (${this.definition.name} is declared with id: 'given')`);
        return given as string[];
      case 'uuid':
        return given.map((id) => id ?? makeUuid(context.now));
      case 'sequence':
        return this.resolveNumbers(given, missing, context);
    }
  }

  private async resolveNumbers(
    given: readonly (string | undefined)[],
    missing: number,
    context: OperationContext,
  ): Promise<string[]> {
    const { backend, scope } = this;
    const { name } = this.definition;
    const brought = given.filter((id) => id !== undefined).map((id) => Number(decodeSequenceId(id)));
    // Before the numbers are taken: a number that the caller brought is then not among them.
    if (brought.length > 0) await skipNumber(backend, scope, name, Math.max(...brought), context);
    if (missing === 0) return given as string[];
    let next = await takeNumbers(backend, scope, name, missing, context);
    return given.map((id) => id ?? encodeSequenceId(String(next++)));
  }
}
