/** Whom the records of an import name: only users and sessions that are there, as everywhere. */
import type { Unit } from '../unit.js';
import type { Item } from './import-item.js';
import { SESSIONS, USERS } from './records.js';

const NAMED = [
  ['userId', 'user', USERS],
  ['sessionId', 'session', SESSIONS],
] as const;

/** The records without the users and sessions that they name which are neither there nor among them. */
export async function withoutStrangers(unit: Unit, items: readonly Item[]): Promise<readonly Item[]> {
  let named = items;
  for (const [member, kind, definition] of NAMED) {
    const brought = new Set(items.filter((item) => item.kind === kind).map(({ id }) => id));
    const ids = new Set(items.map(({ value }) => value[member] as string | undefined));
    const asked = [...ids].filter((id) => id !== undefined && !brought.has(id)) as string[];
    const found = await unit.findMany<unknown>(definition, asked);
    const gone = new Set<unknown>(asked.filter((_, i) => found[i] === undefined));
    if (gone.size > 0) named = named.map((item) => (gone.has(item.value[member]) ? without(item, member) : item));
  }
  return named;
}

function without(item: Item, member: string): Item {
  const { [member]: _gone, ...value } = item.value;
  return { ...item, value };
}
