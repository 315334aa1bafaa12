/**
 * The CRUD interface as messages, for callers that speak JSON: agents, sockets, queues. A message says what is to be done to
 * which collection, an answer says whether it was, and with what.
 */
import { LIMITS } from '../backends/limits.js';
import type { Collection } from '../collection/collection.js';
import type { CollectionDefinition } from '../collection/definition.js';
import type { StoredRecord } from '../collection/record-codec.js';
import { isStorageError, invalid, StorageError, type ErrorCode } from '../errors.js';
import { CURSOR_LENGTH } from '../filter/cursor.js';
import type { Filter } from '../filter/syntax.js';
import { isList, isPlainObject } from '../filter/json.js';
import { id, instant, integer, optional, shape, text, type Reader } from './arguments.js';
import { defined } from './defined.js';
import { ifVersion } from './options.js';

/** A record as JSON: its dates are ISO text. */
export interface MessageRecord {
  readonly id: string;
  readonly version: number;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly expiresAt?: string;
  readonly value: unknown;
}

export interface MessagePage {
  readonly items: readonly MessageRecord[];
  readonly next?: string;
  readonly previous?: string;
}

/** What an answer has, by the action. */
interface AnswerData {
  readonly storage_save: MessageRecord;
  readonly storage_get: MessageRecord;
  /** What was deleted. */
  readonly storage_delete: MessageRecord;
  readonly storage_list: MessagePage;
  readonly storage_query: MessagePage;
}

export type StorageAction = keyof AnswerData;

export interface StorageSuccess<Action extends StorageAction = StorageAction> {
  readonly success: true;
  /** As the message had it. */
  readonly requestId?: string;
  readonly data: AnswerData[Action];
}

export interface StorageFailure {
  readonly success: false;
  readonly requestId?: string;
  readonly error: {
    /** A StorageError's code: `NOT_FOUND`, `VALIDATION`. `INTERNAL` for what is none. */
    readonly type: ErrorCode;
    /** What is wrong with the message; of any other fault one text, which says nothing of the servers or of other tenants. */
    readonly message: string;
    /** Whether the same message may succeed later. */
    readonly retryable: boolean;
    /** Empty of what is no fault of the message's. */
    readonly details: Readonly<Record<string, unknown>>;
  };
}

/** Of a message of this action; without one, of any. */
export type StorageAnswer<Action extends StorageAction = StorageAction> = StorageSuccess<Action> | StorageFailure;

interface Listing {
  readonly limit?: number | undefined;
  readonly after?: string | undefined;
  readonly sort?: object | undefined;
}

/** What a message has besides its collection, by the action. */
interface Members {
  readonly storage_save: {
    readonly value: unknown;
    readonly id?: string | undefined;
    readonly ifVersion?: number | undefined;
    /** Milliseconds. */
    readonly ttl?: number | undefined;
  };
  readonly storage_get: { readonly id: string };
  readonly storage_delete: { readonly id: string; readonly ifVersion?: number | undefined };
  readonly storage_list: Listing;
  readonly storage_query: Listing & { readonly filter: object };
}

/** What is sent: JSON. `filter` is of the filter language, with dates as ISO text. */
export type StorageMessage<Action extends StorageAction = StorageAction> = {
  readonly [A in Action]: Message<A>;
}[Action];

type Message<Action extends StorageAction> = {
  readonly action: Action;
  readonly requestId?: string | undefined;
  readonly collection: string;
} & Members[Action];

/** Answers one message; it never rejects. What an answer has goes by the action. */
export type MessageHandler = <Action extends StorageAction>(message: Message<Action>) => Promise<StorageAnswer<Action>>;

/** A collection that messages may name. */
interface Reachable {
  readonly records: () => Collection<unknown>;
  /** Whether what is at a path of a filter is a date. */
  readonly isDate: (path: string) => boolean;
  /** Whether what is at a path of a value is one. */
  readonly isDeclaredDate: (path: string) => boolean;
}

type Actions = {
  readonly [A in StorageAction]: (reachable: Reachable, message: Record<string, unknown>) => Promise<AnswerData[A]>;
};

const anything: Reader<unknown> = (value) => value;
const COMMON = { action: anything, requestId: anything, collection: anything };
const LISTING = { ...COMMON, limit: optional(integer(1, 1_000)), after: optional(text(CURSOR_LENGTH)), sort: anything };

const save = shape({ ...COMMON, value: anything, id: optional(id), ifVersion, ttl: anything });
const get = shape({ ...COMMON, id });
const remove = shape({ ...COMMON, id, ifVersion });
const list = shape(LISTING);
const query = shape({ ...LISTING, filter: anything });

const ACTIONS: Actions = {
  async storage_save({ records, isDeclaredDate }, message) {
    const { value, id, ifVersion, ttl } = save(message, 'message');
    const read = withDatesAt(value, isDeclaredDate, '', 'message.value');
    return shown(await records().save(read, defined({ id, ifVersion, ttl: ttl as number | undefined })));
  },
  async storage_get({ records }, message) {
    return shown(await records().get(get(message, 'message').id));
  },
  async storage_delete({ records }, message) {
    const { id, ifVersion } = remove(message, 'message');
    return shown(await records().delete(id, defined({ ifVersion })));
  },
  async storage_list({ records }, message) {
    const { limit, after, sort } = list(message, 'message');
    return shownPage(await records().list(defined({ limit, after, sort: sort as never })));
  },
  async storage_query({ records, isDate }, message) {
    const { filter, limit, after, sort } = query(message, 'message');
    if (filter === undefined) throw invalid('message.filter', filter, 'a filter');
    const read = withDates(filter, isDate, 'message.filter') as Filter<unknown>;
    return shownPage(await records().query(read, defined({ limit, after, sort: sort as never })));
  },
};

/** @param definitions those that messages may name: no other can be reached. */
export function createMessageHandler(
  definitions: readonly CollectionDefinition<unknown>[],
  open: (definition: CollectionDefinition<unknown>) => Collection<unknown>,
): MessageHandler {
  if (!isList(definitions)) throw invalid('collections', definitions, 'an array of what defineCollection gives');
  const collections = new Map<string, Reachable>();
  for (const definition of definitions) {
    open(definition);
    const { envelope, declared } = definition.domain;
    const isDeclaredDate = (path: string): boolean => declared.get(path) === 'date';
    const isDate = (path: string): boolean => isDeclaredDate(path) || envelope?.get(path) === 'date';
    collections.set(definition.name, { records: () => open(definition), isDate, isDeclaredDate });
  }
  return async <Action extends StorageAction>(message: Message<Action>): Promise<StorageAnswer<Action>> => {
    let named = {};
    try {
      const requestId = (message as { requestId?: unknown } | null | undefined)?.requestId;
      if (typeof requestId === 'string') named = { requestId };
      return { success: true, ...named, data: (await answer(message, collections)) as AnswerData[Action] };
    } catch (error) {
      return { success: false, ...named, error: told(error) };
    }
  };
}

async function answer(
  message: unknown,
  collections: ReadonlyMap<string, Reachable>,
): Promise<MessageRecord | MessagePage> {
  if (typeof message !== 'object' || message === null) throw invalid('message', message, 'an object');
  const { action, collection, requestId } = message as Record<string, unknown>;
  if (typeof action !== 'string' || !Object.hasOwn(ACTIONS, action))
    throw invalid('message.action', action, `one of ${Object.keys(ACTIONS).join(', ')}`);
  if (requestId !== undefined && typeof requestId !== 'string') throw invalid('message.requestId', requestId, 'a text');
  const reachable = typeof collection === 'string' ? collections.get(collection) : undefined;
  if (reachable === undefined)
    throw invalid('message.collection', collection, `one of ${[...collections.keys()].join(', ')}`);
  return ACTIONS[action as StorageAction](reachable, message as Record<string, unknown>);
}

/** JSON has no dates: text that is compared with a date is one. What is deeper than anything valid is left to be refused. */
function withDates(filter: unknown, isDate: Reachable['isDate'], at: string, depth = 0): unknown {
  if (depth > LIMITS.depth) return filter;
  if (Array.isArray(filter)) return filter.map((item, i) => withDates(item, isDate, `${at}[${i}]`, depth + 1));
  if (!isPlainObject(filter)) return filter;
  const entries = Object.entries(filter).map(([key, operand]) => {
    const below = `${at}.${key}`;
    return [key, isDate(key) ? datesOf(operand, below, depth + 1) : withDates(operand, isDate, below, depth + 1)];
  });
  return Object.fromEntries(entries);
}

/** As `withDates`, for a value: what is within it has a path. */
function withDatesAt(value: unknown, isDate: Reachable['isDate'], path: string, at: string, depth = 0): unknown {
  if (depth > LIMITS.depth) return value;
  if (path !== '' && isDate(path)) return typeof value === 'string' ? instant(value, at) : value;
  if (!isPlainObject(value)) return value;
  const entries = Object.entries(value).map(([key, item]) => {
    // A path leads to no member whose own name has a dot.
    if (key.includes('.')) return [key, item] as const;
    const below = path === '' ? key : `${path}.${key}`;
    return [key, withDatesAt(item, isDate, below, `${at}.${key}`, depth + 1)] as const;
  });
  return Object.fromEntries(entries);
}

function datesOf(operand: unknown, at: string, depth: number): unknown {
  if (typeof operand === 'string') return instant(operand, at);
  if (depth > LIMITS.depth) return operand;
  if (Array.isArray(operand)) return operand.map((item, i) => datesOf(item, `${at}[${i}]`, depth + 1));
  if (!isPlainObject(operand)) return operand;
  const entries = Object.entries(operand).map(([key, item]) => [key, datesOf(item, `${at}.${key}`, depth + 1)]);
  return Object.fromEntries(entries);
}

/** Of these the text and the details are of what the message itself says. Those of others may name servers, or other tenants. */
const OWN_FAULTS: readonly ErrorCode[] = [
  'VALIDATION',
  'INVALID_FILTER',
  'INVALID_CURSOR',
  'UNSUPPORTED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'CONFLICT',
];

function told(error: unknown): StorageFailure['error'] {
  const { code, message, retryable, details } = isStorageError(error) ? error : new StorageError('INTERNAL', '');
  if (OWN_FAULTS.includes(code)) return { type: code, message, retryable, details };
  return { type: code, message: 'The operation failed', retryable, details: {} };
}

function shown({ id, version, createdAt, updatedAt, expiresAt, value }: StoredRecord<unknown>): MessageRecord {
  return {
    id,
    version,
    createdAt: createdAt.toISOString(),
    updatedAt: updatedAt.toISOString(),
    ...(expiresAt === undefined ? {} : { expiresAt: expiresAt.toISOString() }),
    value: JSON.parse(JSON.stringify(value)) as unknown,
  };
}

function shownPage({
  items,
  next,
  previous,
}: {
  readonly items: readonly StoredRecord<unknown>[];
  readonly next?: string;
  readonly previous?: string;
}): MessagePage {
  return {
    items: items.map(shown),
    ...(next === undefined ? {} : { next }),
    ...(previous === undefined ? {} : { previous }),
  };
}
