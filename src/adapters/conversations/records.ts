/** What the conversation store keeps. */
import type { JsonObject, JsonValue } from '../../backends/backend.js';
import { defineOwnCollection } from '../../collection/definition.js';
import type { EventValue, StoreEvent } from '../events.js';
import type { Entity } from '../store.js';
import { defineStore, type StoreDefinition } from '../store-definition.js';
import type { Size } from '../unit-options.js';
import { ENDED } from './ended.js';

export interface ConversationValue {
  /** Whose it is, as a field: to tell the tenants that there are without reading what they have. */
  readonly tenant: string;
  readonly title?: string;
  readonly sessionId?: string;
  /** Whose session it was when the conversation took it. */
  readonly userId?: string;
  readonly metadata: JsonObject;
  readonly archivedAt?: Date;
  /** Messages that are not deleted. */
  readonly messageCount: number;
  /** Of the last message that there was: no message gets it again, whatever is deleted. */
  readonly lastSeq: number;
  /** The latest time of its messages. */
  readonly lastMessageAt?: Date;
  /** The latest time of its messages, or when it was made, or unarchived. */
  readonly activeAt: Date;
  /** Whether messages of it have vectors. */
  readonly embedded?: boolean;
  /** Versions that conversations of this id had before it, which were deleted: the seqs of its events begin after theirs. */
  readonly formerVersion?: number;
}

/** What a message changes in its conversation, and nothing that may be large. */
export type ConversationState = Omit<ConversationValue, 'title' | 'metadata'>;

export interface Asset {
  readonly id: string;
  readonly assetType: string;
  readonly uri?: string;
  readonly metadata: JsonObject;
}

export interface MessageValue {
  readonly conversationId: string;
  /** 1, 2, ... in its conversation, in the order of insertion: what pages are ordered by. */
  readonly seq: number;
  readonly userId?: string;
  readonly role: string;
  readonly messageType: string;
  readonly status: string;
  readonly content: JsonValue;
  readonly metadata: JsonObject;
  readonly extra: JsonObject;
  readonly clientMessageId?: string;
  readonly assets?: readonly Asset[];
  readonly deletedAt?: Date;
  /** The status before the deletion. */
  readonly deletedStatus?: string;
  /** How many former states are kept. */
  readonly revisions: number;
}

export interface RevisionValue {
  readonly conversationId: string;
  readonly messageId: string;
  /** 1 is the first state that the message had. */
  readonly revision: number;
  readonly content: JsonValue;
  readonly metadata: JsonObject;
  readonly extra: JsonObject;
  readonly messageType: string;
  readonly status: string;
  /** When an edit ended this state. */
  readonly editedAt: Date;
  readonly editedById?: string;
}

export interface UserValue {
  readonly externalId?: string;
  readonly displayName?: string;
  readonly metadata: JsonObject;
}

export interface SessionValue {
  readonly externalId?: string;
  readonly userId?: string;
  readonly metadata: JsonObject;
}

/** For what the store itself adds to what a caller gave, which may be as large as a record may be. */
export const OWN: Size = { room: -4_096 };

/** Members that are none of a caller's business. */
type Inner = 'embedded' | 'formerVersion' | 'tenant';
export type Conversation = Entity<Omit<ConversationValue, Inner>>;
export type Message = Entity<Omit<MessageValue, 'deletedStatus'>>;
export type MessageRevision = Entity<RevisionValue>;
export type User = Entity<UserValue>;
export type Session = Entity<SessionValue> & { readonly expiresAt?: Date };

/** What happened to one message. `eventType`: created, edited, soft_deleted, restored, or one of the caller's. */
export interface MessageEvent {
  readonly id: string;
  readonly tenantId: string;
  readonly conversationId: string;
  readonly messageId: string;
  readonly eventType: string;
  readonly metadata: JsonObject;
  readonly seq: number;
  readonly createdAt: Date;
}

export interface MessageEventPayload {
  readonly messageId: string;
  readonly eventType: string;
  readonly metadata: JsonObject;
}

/** Payloads by type, for `storage.on` and `watchEvents`. */
export interface ConversationEvents {
  'conversation.created': { readonly title?: string };
  'conversation.updated': { readonly changed: readonly string[] };
  'conversation.archived': { readonly metadata?: JsonObject };
  'conversation.unarchived': Record<string, never>;
  'conversation.reset': { readonly messages: number };
  /** It can be read for 30 days: of a conversation that is deleted nothing else stays but the last seqs of its messages and events. */
  'conversation.deleted': { readonly messages: number };
  'conversation.message': MessageEventPayload;
  /** Messages that are gone for good, and with them their own events. */
  'conversation.purged': { readonly messageIds: readonly string[] };
}
export type ConversationEvent = {
  [Type in keyof ConversationEvents]: StoreEvent<Type, ConversationEvents[Type]>;
}[keyof ConversationEvents];

const UUID = { type: 'string', maxBytes: 36 } as const;
const NAME = { type: 'string', maxBytes: 1_020 } as const;
const WORD = { type: 'string', maxBytes: 128 } as const;

export const CONVERSATIONS = defineOwnCollection<ConversationValue>({
  name: 'qm_conversations',
  fields: {
    tenant: 'string',
    sessionId: UUID,
    userId: UUID,
    archivedAt: 'date',
    lastMessageAt: 'date',
    activeAt: 'date',
  },
  indexes: [
    { keys: ['createdAt'] },
    { keys: ['updatedAt'] },
    { keys: ['activeAt'] },
    { keys: ['archivedAt', 'createdAt'] },
    { keys: ['sessionId', 'createdAt'] },
    { keys: ['userId', 'createdAt'] },
  ],
});

export const MESSAGES = defineOwnCollection<MessageValue>({
  name: 'qm_messages',
  fields: {
    conversationId: UUID,
    seq: 'number',
    userId: UUID,
    messageType: WORD,
    status: WORD,
    clientMessageId: NAME,
    deletedAt: 'date',
  },
  indexes: [
    { keys: ['conversationId', 'seq'] },
    { keys: ['userId', 'createdAt'] },
    { keys: ['createdAt'] },
    { keys: ['deletedAt', 'createdAt'] },
  ],
  unique: [{ name: 'clientMessage', fields: ['conversationId', 'clientMessageId'] }],
  text: ['content', 'content.text'],
});

export const REVISIONS = defineOwnCollection<RevisionValue>({
  name: 'qm_message_revisions',
  fields: { conversationId: UUID, messageId: UUID, revision: 'number', editedAt: 'date' },
  indexes: [{ keys: ['messageId', 'revision'] }, { keys: ['conversationId'] }],
});

export const USERS = defineOwnCollection<UserValue>({
  name: 'qm_users',
  fields: { externalId: NAME },
  indexes: [{ keys: ['createdAt'] }],
  unique: [{ name: 'externalId', fields: ['externalId'] }],
});

export const SESSIONS = defineOwnCollection<SessionValue>({
  name: 'qm_sessions',
  fields: { externalId: NAME, userId: UUID },
  indexes: [{ keys: ['userId'] }],
  unique: [{ name: 'externalId', fields: ['externalId'] }],
});

/** As those of every store, and found by their message too. */
export const EVENTS = defineOwnCollection<EventValue>({
  name: 'qm_conversation_events',
  id: 'given',
  fields: { aggregateId: 'string', seq: 'number', type: WORD, 'payload.messageId': UUID },
  indexes: [{ keys: ['aggregateId', 'seq'] }, { keys: ['payload.messageId', 'seq'] }],
});

/** As a caller gets it. */
export function outward<V extends ConversationValue>(value: V): Omit<V, Inner> {
  const { embedded: _embedded, formerVersion: _former, tenant: _tenant, ...rest } = value;
  return rest;
}

export const CONVERSATION_STORE: StoreDefinition = {
  ...defineStore('conversations', 'conversation', [CONVERSATIONS, ENDED, MESSAGES, REVISIONS, USERS, SESSIONS]),
  events: EVENTS,
};
