/** What callers of the conversation store give: read before any I/O. */
import type { CallOptions } from '../../component.js';
import { invalid } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';
import type { JsonObject, JsonValue } from '../../backends/backend.js';
import {
  eventMetadata,
  flag,
  instant,
  json,
  jsonObject,
  list,
  nullable,
  optional,
  partial,
  shape,
  text,
  uuid,
  withDefault,
  type Reader,
} from '../arguments.js';
import { defined } from '../defined.js';
import { ACTOR_MEMBERS, CALL_MEMBERS, idempotencyKey, ifVersion } from '../options.js';

export const WORD = text(128);
export const NAME = text(1_020);
const METADATA = withDefault(jsonObject, {});
const EVENT_METADATA = withDefault(eventMetadata, {});

const ACTOR = { triggeredById: ACTOR_MEMBERS.triggeredById };

/** Options with these members beside those of every call. @throws `VALIDATION` for what is none */
export function optionsOf<S extends Readonly<Record<string, Reader<unknown>>>>(members: S) {
  return shape({ ...CALL_MEMBERS, ...members }) as Reader<{ readonly [K in keyof S]: ReturnType<S[K]> } & CallOptions>;
}

export const READ_OPTIONS = optionsOf({});
export const CHANGE_OPTIONS = optionsOf({ ...ACTOR, ifVersion });
export const ENSURE_OPTIONS = optionsOf({ ...ACTOR, idempotencyKey, ifVersion });
export const ADD_OPTIONS = optionsOf({
  ...ACTOR,
  idempotencyKey,
  rebind: withDefault(flag, false),
  keepSession: withDefault(flag, false),
});
export const PROFILE_OPTIONS = optionsOf({ ifVersion });
export const SESSION_OPTIONS = optionsOf({ rebind: withDefault(flag, false) });

export const CONVERSATION = shape({ title: optional(NAME), sessionId: optional(uuid), metadata: optional(jsonObject) });
export const ARCHIVE = optionsOf({
  ...ACTOR,
  ifVersion,
  at: optional(instant),
  metadata: optional(eventMetadata),
});

export const USER = shape({ displayName: optional(NAME), metadata: optional(jsonObject) });
export const SESSION = shape({ userId: optional(uuid), metadata: optional(jsonObject), expiresAt: nullable(instant) });
export const PROFILE = shape({
  displayName: optional(NAME),
  profile: optional(jsonObject),
  documents: optional(jsonObject),
  mergeDocuments: withDefault(flag, false),
});

export interface AssetInput {
  readonly assetType: string;
  readonly uri?: string;
  readonly metadata: JsonObject;
}

export interface EventInput {
  readonly eventType: string;
  readonly metadata: JsonObject;
}

/** Either spelling of the kind: `assetType` or `type`. */
function kindOf(value: Readonly<Record<string, string | undefined>>, names: readonly string[], usual: string): string {
  return names.map((name) => value[name]).find((kind) => kind !== undefined) ?? usual;
}

export const ASSET_MEMBERS = { assetType: text(256), uri: text(8_192) };

const ASSET: Reader<AssetInput> = (value, key) => {
  const members = {
    assetType: optional(ASSET_MEMBERS.assetType),
    type: optional(ASSET_MEMBERS.assetType),
    uri: optional(ASSET_MEMBERS.uri),
    metadata: METADATA,
  };
  const { uri, metadata, ...kinds } = shape(members)(value, key);
  return defined({ assetType: kindOf(kinds, ['assetType', 'type'], 'attachment'), uri, metadata });
};

const EVENT: Reader<EventInput> = (value, key) => {
  const members = { eventType: optional(text(256)), type: optional(text(256)), metadata: EVENT_METADATA };
  const { metadata, ...kinds } = shape(members)(value, key);
  return { eventType: kindOf(kinds, ['eventType', 'type'], 'event'), metadata };
};

const CONTENT: Reader<JsonValue> = (value, key) => {
  if (value === undefined || value === null) throw invalid(key, value, 'a JSON value other than null');
  return json(value, key);
};

const PARTS = { assets: optional(list(ASSET, 100)), events: optional(list(EVENT, 100)) };
const MESSAGE_SHAPE = shape({
  role: withDefault(WORD, 'assistant'),
  content: CONTENT,
  messageType: withDefault(WORD, 'text'),
  status: withDefault(WORD, 'sent'),
  metadata: METADATA,
  extra: METADATA,
  clientMessageId: optional(NAME),
  createdAt: optional(instant),
  userId: optional(uuid),
  user: optional(NAME),
  userDisplayName: optional(NAME),
  userMetadata: optional(jsonObject),
  sessionId: optional(uuid),
  session: optional(NAME),
  sessionMetadata: optional(jsonObject),
  ...PARTS,
});

export type MessageInput = ReturnType<typeof MESSAGE_SHAPE>;

export const MESSAGE: Reader<MessageInput> = (value, key) => {
  const message = MESSAGE_SHAPE(value, key);
  for (const [one, other] of [
    ['userId', 'user'],
    ['sessionId', 'session'],
  ] as const)
    if (message[one] !== undefined && message[other] !== undefined)
      throw invalid(`${key}.${other}`, message[other], `not both ${one} and ${other}`);
  const people = { user: ['userDisplayName', 'userMetadata'], session: ['sessionMetadata'] } as const;
  for (const [owner, members] of Object.entries(people))
    for (const member of members)
      if (message[member] !== undefined && message[owner as keyof typeof people] === undefined)
        throw invalid(`${key}.${member}`, message[member], `none without ${owner}`);
  return message;
};

const EDIT_SHAPE = partial({
  content: CONTENT,
  metadata: jsonObject,
  extra: jsonObject,
  messageType: WORD,
  status: WORD,
  ...PARTS,
});
export type EditInput = ReturnType<typeof EDIT_SHAPE>;

export const EDIT: Reader<EditInput> = (value, key) => {
  const edit = EDIT_SHAPE(value, key);
  if (Object.values(edit).every((member) => member === undefined)) throw invalid(key, value, 'at least one change');
  return edit;
};

export const DELETION = optionsOf({
  ...ACTOR,
  ifVersion,
  reason: optional(NAME),
  metadata: EVENT_METADATA,
  status: withDefault(WORD, 'deleted'),
});

/** The words of a filter: `['text', 'image']`. */
export const WORDS = optional(list(WORD, 100));

/** The members that a JSON object must have, as a filter; an array has to hold the elements, what is empty has to be there. */
export function containment(path: string, wanted: JsonObject): Record<string, unknown>[] {
  return Object.entries(wanted).flatMap(([key, value]): Record<string, unknown>[] => {
    if (key.includes('.')) throw invalid(`${path}.${key}`, key, 'a key without a dot');
    const at = `${path}.${key}`;
    if (isEmpty(value)) return [{ [at]: { $exists: true } }];
    if (Array.isArray(value))
      return (value as readonly JsonValue[]).map((item) => ({ [at]: { $contains: scalar(item, at) } }));
    if (isPlainObject(value)) return containment(at, value);
    return [{ [at]: value }];
  });
}

function isEmpty(value: JsonValue): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

function scalar(value: JsonValue, key: string): JsonValue {
  if (typeof value === 'object' && value !== null) throw invalid(key, value, 'a text, a number, true, false or null');
  return value;
}
