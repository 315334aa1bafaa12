/** What may be asked of messages. */
import type { JsonObject } from '../../backends/backend.js';
import type { CallOptions } from '../../component.js';
import type { Filter } from '../../filter/syntax.js';
import { choice, flag, instant, integer, jsonObject, list, optional, uuid, withDefault } from '../arguments.js';
import { PAGE_MEMBERS } from '../options.js';
import { WATCH_MEMBERS } from '../watch-events.js';
import { containment, optionsOf, WORDS } from './input.js';
import type { MessageValue } from './records.js';

interface MessageFilter {
  /** Members that the metadata have; an array has to hold the elements given (no objects), what is empty has to be there. */
  readonly metadata?: object | undefined;
  /** Default: false. */
  readonly includeDeleted?: boolean | undefined;
  readonly messageTypes?: readonly string[] | undefined;
  readonly statuses?: readonly string[] | undefined;
}

export interface MessageListOptions extends CallOptions, MessageFilter {
  /** 1 to 100; default 20. */
  readonly limit?: number | undefined;
  /** A page's `next` (newer messages) or `previous` (older ones). */
  readonly after?: string | undefined;
  /** Without a cursor: from the oldest, or the newest page (`backward`). Default: `forward`. */
  readonly direction?: 'forward' | 'backward' | undefined;
}

export interface MessageQueryOptions extends CallOptions, MessageFilter {
  readonly limit?: number | undefined;
  readonly after?: string | undefined;
  /** Of any of these; absent: of all conversations. */
  readonly conversationIds?: readonly string[] | undefined;
  readonly roles?: readonly string[] | undefined;
  readonly userId?: string | undefined;
  /** On `createdAt`: inclusive, exclusive. */
  readonly from?: Date | string | undefined;
  readonly until?: Date | string | undefined;
  /** Of `createdAt`. Default: `desc`. */
  readonly order?: 'asc' | 'desc' | undefined;
}

export interface TailOptions {
  /** The seq of the last message known; default 0. */
  readonly after?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds after which new messages of other processes are looked for; default 1,000. */
  readonly interval?: number | undefined;
}

const FILTER = {
  metadata: optional(jsonObject),
  includeDeleted: withDefault(flag, false),
  messageTypes: WORDS,
  statuses: WORDS,
};
const PAGE = { limit: withDefault(integer(1, 100), 20), after: PAGE_MEMBERS.after };
const SEQ = integer(0, Number.MAX_SAFE_INTEGER);
export const LIST = optionsOf({
  ...FILTER,
  ...PAGE,
  direction: withDefault(choice(['forward', 'backward']), 'forward'),
});
export const STREAM = optionsOf({
  ...FILTER,
  direction: withDefault(choice(['forward', 'backward']), 'forward'),
  batchSize: withDefault(integer(1, 1_000), 200),
});
export const QUERY = optionsOf({
  ...FILTER,
  ...PAGE,
  limit: optional(integer(1, 100)),
  conversationIds: optional(list(uuid, 100)),
  roles: WORDS,
  userId: optional(uuid),
  from: optional(instant),
  until: optional(instant),
  order: withDefault(choice(['asc', 'desc']), 'desc'),
});
export const RECENT = optionsOf({
  limit: withDefault(integer(1, 1_000), 50),
  before: optional(integer(1, Number.MAX_SAFE_INTEGER)),
});
export const EVENT_LIST = optionsOf({
  conversationId: optional(uuid),
  messageId: optional(uuid),
  after: withDefault(SEQ, 0),
  limit: withDefault(integer(1, 1_000), 100),
});
export const TAIL = optionsOf(WATCH_MEMBERS);

export type MessageConditions = Filter<MessageValue>;

export function messageConditions({
  metadata,
  includeDeleted,
  messageTypes,
  statuses,
}: {
  readonly metadata: JsonObject | undefined;
  readonly includeDeleted: boolean;
  readonly messageTypes: readonly string[] | undefined;
  readonly statuses: readonly string[] | undefined;
}): MessageConditions[] {
  return [
    ...(includeDeleted ? [] : [{ deletedAt: { $exists: false } }]),
    ...(messageTypes === undefined ? [] : [{ messageType: { $in: messageTypes } }]),
    ...(statuses === undefined ? [] : [{ status: { $in: statuses } }]),
    ...containment('metadata', metadata ?? {}),
  ] as MessageConditions[];
}
