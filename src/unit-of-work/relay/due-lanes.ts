/** The lanes that were found due and are to be claimed. */
import type { RecordBackend, Stored } from '../../backends/backend.js';
import { all, compares, equals, oneOf, orderBy } from '../../collection/conditions.js';
import type { OperationContext } from '../../component.js';
import { LANES } from '../outbox/records.js';
import { takeToken } from './claim.js';
import type { Operate } from './operate.js';

export class DueLanes {
  /** One for all that one look has found: each of them is older than it, and so are the tokens that its key had before. */
  token = 0;
  private found: Stored[] = [];
  /** Whether the last look met as many as it wanted; before the first one, nobody knows. */
  private isBehind = true;
  /** The topics that had some when they were looked at last. */
  private readonly busy: Set<string>;
  /** Whose turn it is to be looked at first. */
  private turn = 0;

  constructor(
    private readonly backend: RecordBackend,
    private readonly topics: readonly string[],
    private readonly operate: Operate,
  ) {
    this.busy = new Set(topics);
  }

  /** Whether there may be more to claim at once. */
  get mayBeMore(): boolean {
    return this.isBehind || this.found.length > 0;
  }

  /** Looks when none is left of what the last look found. @param limit the most that a look finds @returns whether it looked */
  async find(limit: number): Promise<boolean> {
    if (this.found.length > 0) return false;
    const found = await this.operate((context) => this.look(limit, context));
    this.isBehind = found.length === limit;
    if (found.length === 0) return true;
    // Taken after the look.
    this.token = await this.operate((context) => takeToken(this.backend, context));
    // Relays that look at the same time would all want the same ones.
    this.found = shuffled(found);
    return true;
  }

  /** Some that may be claimed, which are no longer here. */
  take(most: number): Stored[] {
    return this.found.splice(0, most);
  }

  /** Some that were not claimed, and may be yet. */
  putBack(lanes: readonly Stored[]): void {
    this.found.push(...lanes);
  }

  /** Others take the same. */
  forget(): void {
    this.found = [];
  }

  /**
   * While there are many, a look goes from one topic that had some to the next, another first at each: servers would sort all
   * that is due to give the first of several topics. Those that had none are one look together, in their turn.
   */
  private async look(limit: number, context: OperationContext): Promise<Stored[]> {
    const { topics, busy } = this;
    const quiet = topics.filter((topic) => !busy.has(topic));
    const groups = topics.flatMap((topic) => (busy.has(topic) ? [[topic]] : []));
    if (quiet.length > 0) groups.push(quiet);
    const asked = this.isBehind ? groups : [topics];
    const first = this.turn++ % asked.length;
    const found: Stored[] = [];
    for (const group of [...asked.slice(first), ...asked.slice(0, first)]) {
      const some = await this.firstOf(group, limit - found.length, context);
      group.forEach((topic) => busy.delete(topic));
      some.forEach(({ value }) => busy.add(value['topic'] as string));
      found.push(...some);
      if (found.length === limit) break;
    }
    return found;
  }

  /** Those due first before the others. */
  private firstOf(topics: readonly string[], limit: number, context: OperationContext): Promise<Stored[]> {
    const topic = topics.length === 1 ? equals('topic', topics[0]!) : oneOf('topic', topics);
    const filter = all(topic, compares('dueAt', 'lte', context.now));
    return this.backend.find('all', { collection: LANES, filter, sort: orderBy('dueAt', 'date'), limit }, context);
  }
}

function shuffled(lanes: readonly Stored[]): Stored[] {
  return lanes
    .map((lane) => ({ lane, rank: Math.random() }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ lane }) => lane);
}
