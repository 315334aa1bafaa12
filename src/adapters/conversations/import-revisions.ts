/** Which former states an import may bring to a message that is there and stays as it is. */
import { groupBy } from '../../collection/group-by.js';
import type { Unit } from '../unit.js';
import type { Item } from './import-item.js';
import { MESSAGES, REVISIONS, type RevisionValue } from './records.js';

/**
 * The ids of those that the message never had. One that it counts and that is not there is its own: an import before this one
 * was cut short.
 * @param items revisions that are not there, of messages that may be
 */
export async function foreignRevisions(unit: Unit, items: readonly Item[]): Promise<Set<string>> {
  const foreign = new Set<string>();
  const byMessage = [...groupBy(items, ({ value }) => (value as unknown as RevisionValue).messageId)];
  const ids = byMessage.map(([id]) => id);
  for (const [i, message] of (await unit.findMany(MESSAGES, ids)).entries()) {
    if (message === undefined) continue;
    const numbered = byMessage[i]![1].map(({ id, value }) => [id, value['revision'] as number] as const);
    const counted = numbered.filter(([, revision]) => revision <= message.value.revisions);
    const taken = await takenNumbers(
      unit,
      message.id,
      counted.map(([, revision]) => revision),
    );
    for (const [id, revision] of numbered)
      if (revision > message.value.revisions || taken.has(revision)) foreign.add(id);
  }
  return foreign;
}

async function takenNumbers(unit: Unit, messageId: string, numbers: readonly number[]): Promise<Set<number>> {
  if (numbers.length === 0) return new Set();
  const found = await unit.query(REVISIONS, { messageId, revision: { $in: numbers } });
  return new Set(found.map(({ value }) => value.revision));
}
