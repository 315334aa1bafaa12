/** Which types of events there are, of which stores. */
import { invalid } from '../errors.js';
import { isList } from '../filter/json.js';
import type { AgentEvents } from './agents.js';
import type { ConversationEvents } from './conversations/records.js';
import type { StoreName } from './settings.js';

/** The stores that have events, and what the types of those begin with. */
export const TELLING_STORES = { agents: 'agent', conversations: 'conversation', jobs: 'job', tasks: 'task' } as const;
export type TellingStore = keyof typeof TELLING_STORES & StoreName;

/** Of the stores whose events are all their own: those of tasks and jobs may be a host's. */
const OWN: { readonly [Type in keyof (AgentEvents & ConversationEvents)]: true } = {
  'agent.state_saved': true,
  'agent.state_deleted': true,
  'agent.deleted': true,
  'conversation.created': true,
  'conversation.updated': true,
  'conversation.archived': true,
  'conversation.unarchived': true,
  'conversation.reset': true,
  'conversation.deleted': true,
  'conversation.message': true,
  'conversation.purged': true,
};
const OPEN: ReadonlySet<string> = new Set<TellingStore>(['jobs', 'tasks']);

/** Whether a store may tell it. */
export function isEventType(type: unknown): boolean {
  const store = storeOf(type);
  return store !== undefined && (OPEN.has(store) || Object.hasOwn(OWN, type as string));
}

/** @param stores those whose events are wanted; default: all @throws `VALIDATION` that names `key` */
export function checkEventTypes(types: unknown, stores: readonly TellingStore[] | undefined, key: string): void {
  if (!isList(types) || types.length === 0)
    throw invalid(key, types, "types of the stores' events, as ['task.created']");
  types.forEach((type, i) => {
    if (!isEventType(type)) throw invalid(`${key}[${i}]`, type, "a type of the stores' events, as 'task.created'");
  });
  const isTold = (type: unknown): boolean => stores?.includes(storeOf(type)!) !== false;
  if (!types.every(isTold)) throw invalid(key, types, `types of the wanted stores' events: of ${stores!.join(', ')}`);
}

/** By what comes before the dot. */
function storeOf(type: unknown): TellingStore | undefined {
  const [, prefix] = /^([a-z]+)\.[a-z][a-z0-9_]*$/.exec(typeof type === 'string' ? type : '') ?? [];
  return (Object.keys(TELLING_STORES) as TellingStore[]).find((store) => TELLING_STORES[store] === prefix);
}
