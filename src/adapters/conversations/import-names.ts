/** What the unique constraints would say of a batch: for a dry run, which writes nothing that they could refuse. */
import type { CollectionDefinition } from '../../collection/definition.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import { ConflictError } from '../../errors.js';
import type { Unit } from '../unit.js';
import type { Item } from './import-item.js';
import { MESSAGES, SESSIONS, USERS, type SessionValue, type UserValue } from './records.js';

const PEOPLE: readonly (readonly [string, CollectionDefinition<UserValue | SessionValue>])[] = [
  ['user', USERS],
  ['session', SESSIONS],
];

/** @param items of one conversation, or of none @throws `ALREADY_EXISTS` for a name that another record has */
export async function checkNames(unit: Unit, items: readonly Item[]): Promise<void> {
  for (const [kind, definition] of PEOPLE) {
    const people = namesOf(items, kind, 'externalId');
    if (people.size === 0) continue;
    refuseTaken(people, 'externalId', await unit.query(definition, { externalId: { $in: [...people.keys()] } }));
  }
  const messages = namesOf(items, 'message', 'clientMessageId');
  if (messages.size === 0) return;
  const conversationId = items.find(({ kind }) => kind === 'message')!.value['conversationId'] as string;
  const own = { conversationId, clientMessageId: { $in: [...messages.keys()] } };
  refuseTaken(messages, 'clientMessageId', await unit.query(MESSAGES, own));
}

/** The ids of those of this kind that have a name, by it. */
function namesOf(items: readonly Item[], kind: string, member: string): Map<string, string> {
  const named = items.filter((item) => item.kind === kind && item.value[member] !== undefined);
  return new Map(named.map(({ id, value }) => [value[member] as string, id]));
}

function refuseTaken(
  ids: ReadonlyMap<string, string>,
  member: 'externalId' | 'clientMessageId',
  found: readonly StoredRecord<{ readonly [M in typeof member]?: string }>[],
): void {
  for (const { id, value } of found)
    if (ids.get(value[member]!) !== id)
      throw new ConflictError('ALREADY_EXISTS', `${member} ${JSON.stringify(value[member])} is another's`, {
        details: { constraint: member, existingId: id },
      });
}
