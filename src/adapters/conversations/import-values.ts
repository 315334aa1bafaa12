/** What the value of each kind of line in an export has to be; members that no version of it has are refused. */
import {
  flag,
  instant,
  integer,
  json,
  jsonObject,
  list,
  optional,
  shape,
  text,
  uuid,
  type Reader,
} from '../arguments.js';
import { defined } from '../defined.js';
import { ACTOR_MEMBERS } from '../options.js';
import { ASSET_MEMBERS, NAME, WORD } from './input.js';

/** So that a conversation that is imported has places left for what is added to it. */
const MOST = Math.floor(Number.MAX_SAFE_INTEGER / 1_000);
const COUNT = integer(0, MOST);
const ANY_LENGTH = Number.MAX_SAFE_INTEGER;
const STATE = { content: json, metadata: jsonObject, extra: jsonObject, messageType: WORD, status: WORD };
const { assetType, uri } = ASSET_MEMBERS;
const ASSET = value({ id: uuid, assetType, uri: optional(uri), metadata: jsonObject });

export const VALUES: ReadonlyMap<string, Reader<Record<string, unknown>>> = new Map([
  ['user', value({ externalId: optional(NAME), displayName: optional(NAME), metadata: jsonObject })],
  ['session', value({ externalId: optional(NAME), userId: optional(uuid), metadata: jsonObject })],
  [
    'conversation',
    value({
      title: optional(NAME),
      sessionId: optional(uuid),
      userId: optional(uuid),
      metadata: jsonObject,
      archivedAt: optional(instant),
      messageCount: COUNT,
      lastSeq: COUNT,
      lastMessageAt: optional(instant),
      activeAt: instant,
      // Of earlier versions; they are not taken over.
      tenant: optional(text()),
      embedded: optional(flag),
      formerVersion: optional(COUNT),
    }),
  ],
  [
    'message',
    value({
      ...STATE,
      conversationId: uuid,
      seq: integer(1, MOST),
      userId: optional(uuid),
      role: WORD,
      clientMessageId: optional(NAME),
      assets: optional(list(ASSET, ANY_LENGTH)),
      deletedAt: optional(instant),
      deletedStatus: optional(WORD),
      revisions: COUNT,
    }),
  ],
  [
    'revision',
    value({
      ...STATE,
      conversationId: uuid,
      messageId: uuid,
      revision: integer(1, MOST),
      editedAt: instant,
      editedById: ACTOR_MEMBERS.triggeredById,
    }),
  ],
]);

function value(members: Readonly<Record<string, Reader<unknown>>>): Reader<Record<string, unknown>> {
  const read = shape(members);
  return (given, key) => defined(read(given, key));
}
