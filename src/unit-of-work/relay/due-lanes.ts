/** The lanes that were found due and are to be claimed. */
import type { RecordBackend, Stored } from '../../backends/backend.js';
import { all, compares, equals, oneOf, orderBy } from '../../collection/conditions.js';
import type { OperationContext } from '../../component.js';
import type { FilterNode } from '../../filter/syntax.js';
import { LANES } from '../outbox/records.js';
import { takeToken } from './claim.js';
import type { Operate } from './operate.js';

export class DueLanes {
  /** One for all that one look has found: each of them is older than it, and so are the tokens that its key had before. */
  token = 0;
  private found: Stored[] = [];
  /** Whether the last look met as many as it wanted. */
  private isBehind = false;
  /** The topic whose turn it is to be looked at first. */
  private turn = 0;

  constructor(
    private readonly backend: RecordBackend,
    private readonly topics: readonly string[],
    private readonly operate: Operate,
  ) {}

  /** Whether there may be more to claim at once. */
  get mayBeMore(): boolean {
    return this.isBehind || this.found.length > 0;
  }

  /** Looks when none is left of what the last look found. @param limit the most that a look finds */
  async find(limit: number): Promise<void> {
    if (this.found.length > 0) return;
    const found = await this.operate((context) =>
      this.isBehind ? this.lookInTurn(limit, context) : this.look(oneOf('topic', this.topics), limit, context),
    );
    this.isBehind = found.length === limit;
    if (found.length === 0) return;
    // Taken after the look.
    this.token = await this.operate((context) => takeToken(this.backend, context));
    // Relays that look at the same time would all want the same ones.
    this.found = shuffled(found);
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
   * While there are many, a look goes from topic to topic, another first at each: servers would sort all that is due to give
   * the first of several topics.
   */
  private async lookInTurn(limit: number, context: OperationContext): Promise<Stored[]> {
    const { topics } = this;
    const first = this.turn++ % topics.length;
    const found: Stored[] = [];
    for (const topic of [...topics.slice(first), ...topics.slice(0, first)]) {
      found.push(...(await this.look(equals('topic', topic), limit - found.length, context)));
      if (found.length === limit) break;
    }
    return found;
  }

  /** Those due first before the others. */
  private look(topic: FilterNode, limit: number, context: OperationContext): Promise<Stored[]> {
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
