/** What of an outbox is not delivered yet, in figures. */
import type { RecordBackend } from '../../backends/backend.js';
import { compares, orderBy, present } from '../../collection/conditions.js';
import type { OperationContext } from '../../component.js';
import type { FilterNode } from '../../filter/syntax.js';
import { MESSAGES } from './records.js';

export interface OutboxBacklog {
  /** Messages that are neither delivered nor dead letters; those behind a dead letter among them. */
  readonly waiting: number;
  readonly dead: number;
  /** When the oldest of those waiting was left. Absent where none waits. */
  readonly oldest?: Date;
}

/** A comparison, which the index of the field can answer. */
export const DEAD = compares('deadAt', 'gte', new Date(0));
export const WAITING: FilterNode = { op: 'not', node: present('deadAt', 'date') };
/** Those that wait before the dead: of the first the oldest, of the second those longest dead. */
export const BY_AGE = orderBy('deadAt', 'date');

/** @param most where more than these wait or are dead, no more are counted */
export async function readBacklog(
  backend: RecordBackend,
  context: OperationContext,
  most?: number,
): Promise<OutboxBacklog> {
  const limit = most === undefined ? {} : { limit: most };
  const dead = await backend.count('all', { collection: MESSAGES, filter: DEAD, ...limit }, context);
  const waiting = await backend.count('all', { collection: MESSAGES, filter: WAITING, ...limit }, context);
  const first = { collection: MESSAGES, filter: WAITING, sort: BY_AGE, limit: 1 };
  const [oldest] = await backend.find('all', first, context);
  return oldest === undefined ? { waiting, dead } : { waiting, dead, oldest: oldest.createdAt };
}
