/** Adding a message: one batch of the message, its events and what the conversation counts. */
import type { JsonObject, JsonValue } from '../../backends/backend.js';
import { makeUuid } from '../../collection/ids.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import type { CallOptions } from '../../component.js';
import { uuid } from '../arguments.js';
import type { Patched } from '../unit-options.js';
import type { Unit } from '../unit.js';
import { claimBeginning, teller, type Beginning } from './ended.js';
import { HistoryStore } from './history.js';
import { defined } from '../defined.js';
import { ADD_OPTIONS, MESSAGE, type AssetInput, type MessageInput } from './input.js';
import {
  MESSAGES,
  SESSIONS,
  type Asset,
  type ConversationState,
  type ConversationValue,
  type Message,
  type MessageValue,
  type SessionValue,
} from './records.js';
import type { Trigger } from './threads.js';
import { findSession, findUser } from './users.js';

export interface NewAsset {
  /** Default: `attachment`. `type` says the same. */
  readonly assetType?: string | undefined;
  readonly type?: string | undefined;
  readonly uri?: string | undefined;
  readonly metadata?: object | undefined;
}

export interface NewMessageEvent {
  /** Default: `event`. `type` says the same. */
  readonly eventType?: string | undefined;
  readonly type?: string | undefined;
  readonly metadata?: object | undefined;
}

export interface NewConversationMessage {
  /** Default: `assistant`. */
  readonly role?: string | undefined;
  /** A text, or any JSON but null; `$text` finds the words of a text, or of its `text`. */
  readonly content: JsonValue | object;
  /** Default: `text`. */
  readonly messageType?: string | undefined;
  /** Default: `sent`. */
  readonly status?: string | undefined;
  readonly metadata?: object | undefined;
  /** What is kept beside; `audio`, `audioId` and `audioFormat` make an asset when there is none. */
  readonly extra?: object | undefined;
  /** The caller's own id: the same again gives the stored message, and writes nothing. */
  readonly clientMessageId?: string | undefined;
  /** The time that it bears; its place is by the order of insertion. Default: now. */
  readonly createdAt?: Date | string | undefined;
  /** A user that is there; or `user`, its external id, who is made when new. */
  readonly userId?: string | undefined;
  readonly user?: string | undefined;
  readonly userDisplayName?: string | undefined;
  readonly userMetadata?: object | undefined;
  /** A session that is there; or `session`, its external id, made when new. It gets the user, the conversation gets it. */
  readonly sessionId?: string | undefined;
  readonly session?: string | undefined;
  readonly sessionMetadata?: object | undefined;
  readonly assets?: readonly NewAsset[] | undefined;
  /** Told before `created`. */
  readonly events?: readonly NewMessageEvent[] | undefined;
}

export type AddMessageOptions = CallOptions &
  Trigger & {
    readonly idempotencyKey?: string | undefined;
    /** Whether the session may go to another user. Default: false. */
    readonly rebind?: boolean | undefined;
    /**
     * Whether a conversation that has a session stays in that, and its user's: the session that the message names is then
     * neither made nor changed. Default: false.
     */
    readonly keepSession?: boolean | undefined;
  };

export abstract class AppendStore extends HistoryStore {
  /**
   * Adds a message after all that are there; makes the conversation, the user and the session when they are new. Messages of
   * one conversation are added one after another: each has the next `seq`.
   * @throws `NOT_FOUND` for the user or session named by id; `CONFLICT` for another user's session; `UNSUPPORTED`.
   */
  async addMessage(
    conversationId: string,
    message: NewConversationMessage,
    options: AddMessageOptions = {},
  ): Promise<Message> {
    const key = uuid(conversationId, 'conversationId');
    const input = MESSAGE(message, 'message');
    const { triggeredById, idempotencyKey, rebind, keepSession, ...call } = ADD_OPTIONS(options, 'options');
    return this.decideOnState<Message>('addMessage', key, call, async (unit, find, isRecent) => {
      const [conversation, once, stored, people] = await Promise.all([
        find(),
        unit.once('addMessage', idempotencyKey, [key, input]),
        // What is known without a read is left to the unique constraint, which decides in the end anyway.
        isRecent ? undefined : storedMessage(unit, key, input.clientMessageId),
        this.peopleOf(unit, input, rebind),
      ]);
      if (once.result !== undefined) {
        const before = await unit.find(MESSAGES, once.result);
        if (before === undefined) throw this.forgotten('The message', once.result, 'addMessage');
        return { result: this.messageOf(before), conversation };
      }
      if (stored !== undefined) {
        once.remember(stored.id);
        return { result: this.messageOf(stored), conversation };
      }
      const beginning = conversation === undefined ? await claimBeginning(unit, key) : undefined;
      const isKept = keepSession && conversation?.value.sessionId !== undefined;
      const { userId, session } = people(isKept);
      const growth = { input, session, triggeredById };
      const left =
        beginning === undefined ? this.grow(unit, conversation!, growth) : this.begin(unit, key, growth, beginning);
      const { lastSeq } = beginning ?? conversation!.value;
      const added = this.insertMessage(unit, key, lastSeq + 1, input, userId);
      once.remember(added.id);
      const owner = 'record' in left ? teller(conversation!, 1) : teller(left);
      for (const event of input.events ?? []) this.messageEvent(unit, owner, added.id, event, triggeredById);
      const { role, messageType, status } = added.value;
      const created = { eventType: 'created', metadata: { role, messageType, status } };
      this.messageEvent(unit, owner, added.id, created, triggeredById);
      return { result: this.messageOf(added), conversation: left };
    });
  }

  /**
   * Reads who is named; the returned function then writes what is new of them: of the user alone where the conversation keeps
   * the session that it has.
   */
  private async peopleOf(
    unit: Unit,
    input: MessageInput,
    rebind: boolean,
  ): Promise<
    (isKept: boolean) => {
      readonly userId?: string | undefined;
      readonly session?: StoredRecord<SessionValue> | undefined;
    }
  > {
    const [first, session] = await Promise.all([
      input.user === undefined ? this.userWith(unit, input.userId) : findUser(unit, input.user),
      input.session === undefined
        ? input.sessionId === undefined
          ? undefined
          : unit.find(SESSIONS, input.sessionId)
        : findSession(unit, input.session),
    ]);
    if (input.sessionId !== undefined && session === undefined)
      throw this.missing('session', input.sessionId, 'addMessage');
    // A session that is read may be as new as its user, who was not there yet when that was read.
    const isLate = input.user !== undefined && first === undefined && session?.value.userId !== undefined;
    const user = isLate ? await findUser(unit, input.user) : first;
    return (isKept) => {
      const given = { displayName: input.userDisplayName, metadata: input.userMetadata };
      const found = typeof user === 'string' ? undefined : user;
      const userId = input.user === undefined ? input.userId : this.userOf(unit, input.user, found, given).id;
      if (isKept) return { userId };
      const changes = { userId, metadata: input.sessionMetadata };
      if (input.session !== undefined)
        return { userId, session: this.sessionOf(unit, input.session, session, changes, rebind) };
      return session === undefined ? { userId } : { userId, session: this.sessionWith(unit, session, changes, rebind) };
    };
  }

  /** A conversation of one message. */
  private begin(
    unit: Unit,
    id: string,
    { input, session, triggeredById }: Growth,
    beginning: Beginning,
  ): StoredRecord<ConversationValue> {
    const time = input.createdAt ?? unit.now;
    const counted = { messageCount: 1, lastMessageAt: time, activeAt: time };
    const made = this.newConversation(unit, id, { ...counted, ...belonging(session) }, beginning);
    unit.event(teller(made), 'created', {}, { triggeredById });
    return made;
  }

  /** The conversation with one message more. */
  private grow(
    unit: Unit,
    conversation: StoredRecord<ConversationState>,
    { input, session }: Growth,
  ): Patched<ConversationValue> {
    const time = input.createdAt ?? unit.now;
    const { messageCount, lastSeq, lastMessageAt, userId } = conversation.value;
    const latest = lastMessageAt !== undefined && lastMessageAt > time ? lastMessageAt : time;
    // With a session of nobody it is nobody's.
    const unset = userId === undefined || session === undefined || session.value.userId !== undefined ? [] : USER;
    const changes = {
      messageCount: messageCount + 1,
      lastSeq: lastSeq + 1,
      lastMessageAt: latest,
      activeAt: latest,
      ...belonging(session),
    };
    return this.touch(unit, conversation, changes, unset);
  }

  private insertMessage(
    unit: Unit,
    conversationId: string,
    seq: number,
    input: MessageInput,
    userId: string | undefined,
  ): StoredRecord<MessageValue> {
    const { role, content, messageType, status, metadata, extra, clientMessageId, createdAt } = input;
    const assets = assetsOf(unit, input.assets ?? audioOf(extra));
    const value = {
      conversationId,
      seq,
      userId,
      role,
      messageType,
      status,
      content,
      metadata,
      extra,
      clientMessageId,
      assets,
    };
    return unit.insert<MessageValue>(MESSAGES, defined({ ...value, revisions: 0 }), { createdAt });
  }
}

const USER = ['userId'] as const;

interface Growth {
  readonly input: MessageInput;
  readonly session: StoredRecord<SessionValue> | undefined;
  readonly triggeredById: string | undefined;
}

function belonging(session: StoredRecord<SessionValue> | undefined): Partial<ConversationValue> {
  return session === undefined ? {} : defined({ sessionId: session.id, userId: session.value.userId });
}

export function assetsOf(unit: Unit, given: readonly AssetInput[]): readonly Asset[] | undefined {
  return given.length === 0 ? undefined : given.map((asset) => ({ id: makeUuid(unit.now), ...asset }));
}

/** The sound that `extra` speaks of. */
function audioOf({ audio, audioId, audioFormat }: JsonObject): AssetInput[] {
  if (audio === undefined || audio === null || audio === false) return [];
  const metadata = audioFormat === undefined ? {} : { format: audioFormat };
  return [defined({ assetType: 'audio', uri: typeof audioId === 'string' ? audioId : undefined, metadata })];
}

async function storedMessage(
  unit: Unit,
  conversationId: string,
  clientMessageId: string | undefined,
): Promise<StoredRecord<MessageValue> | undefined> {
  if (clientMessageId === undefined) return undefined;
  return (await unit.query(MESSAGES, { conversationId, clientMessageId }, { limit: 1 }))[0];
}
