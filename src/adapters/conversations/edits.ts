/** Changing messages that are there: edits that keep the former state, deletions that can be undone, and purges. */
import type { JsonObject, JsonValue } from '../../backends/backend.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import { ConflictError } from '../../errors.js';
import { integer, uuid } from '../arguments.js';
import { checkIfVersion } from '../store.js';
import type { Unit } from '../unit.js';
import type { Size } from '../unit-options.js';
import { AppendStore, assetsOf, type NewAsset, type NewMessageEvent } from './append.js';
import type { Decided } from './base.js';
import { defined } from '../defined.js';
import { teller } from './ended.js';
import { CHANGE_OPTIONS, DELETION, EDIT, type EditInput, type EventInput } from './input.js';
import {
  MESSAGES,
  OWN,
  REVISIONS,
  type ConversationState,
  type Message,
  type MessageValue,
  type RevisionValue,
} from './records.js';
import type { ConversationChangeOptions } from './threads.js';
import { isSame } from './users.js';

export interface MessageChanges {
  readonly content?: JsonValue | object | undefined;
  /** Merged, key by key. */
  readonly metadata?: object | undefined;
  /** Merged, key by key. */
  readonly extra?: object | undefined;
  readonly messageType?: string | undefined;
  readonly status?: string | undefined;
  /** Added to those that are there. */
  readonly assets?: readonly NewAsset[] | undefined;
  /** Told before `edited`; alone they change nothing but the events. */
  readonly events?: readonly NewMessageEvent[] | undefined;
}

export type DeletionOptions = ConversationChangeOptions & {
  readonly reason?: string | undefined;
  /** Kept in the event. */
  readonly metadata?: object | undefined;
  /** Default: `deleted`. */
  readonly status?: string | undefined;
};

/** What a change of a message is made from. */
interface Found {
  readonly unit: Unit;
  readonly conversation: StoredRecord<ConversationState>;
  readonly message: StoredRecord<MessageValue>;
}

/** What is to become of it; `undefined`: nothing. */
interface Change {
  readonly next: MessageValue;
  readonly events: readonly EventInput[];
  /** Added to the conversation's count of messages. */
  readonly count?: number;
  /** Whether the former state is kept. */
  readonly revision?: boolean;
  /** Default: that of what the store itself changes. */
  readonly size?: Size;
}

const FORMER = ['content', 'metadata', 'extra', 'messageType', 'status'] as const;

export abstract class EditStore extends AppendStore {
  /**
   * Changes what is given; the former state is kept as a revision. A change that changes nothing writes nothing.
   * @throws `NOT_FOUND`; `CONFLICT` for a deleted message, or another version.
   */
  async editMessage(
    conversationId: string,
    id: string,
    changes: MessageChanges,
    options: ConversationChangeOptions = {},
  ): Promise<Message> {
    const edit = EDIT(changes, 'changes');
    return this.changeMessage('editMessage', conversationId, id, options, async ({ unit, message }) =>
      this.edited(unit, message, edit),
    );
  }

  /** Gives a message the content and all else that it had in a revision: an edit like any other. @throws as `editMessage` */
  async restoreRevision(
    conversationId: string,
    id: string,
    revision: number,
    options: ConversationChangeOptions = {},
  ): Promise<Message> {
    const number = integer(1, Number.MAX_SAFE_INTEGER)(revision, 'revision');
    return this.changeMessage('restoreRevision', conversationId, id, options, async ({ unit, message }) => {
      // An import may have brought another of the same number: the newest.
      const [former] = await unit.query(
        REVISIONS,
        { messageId: message.id, revision: number },
        { sort: { createdAt: 'desc' }, limit: 1 },
      );
      if (former === undefined) throw this.missing('revision', `${message.id}:${number}`, 'restoreRevision');
      const { content, metadata, extra, messageType, status } = former.value;
      return this.replaced(message, { ...message.value, content, metadata, extra, messageType, status }, []);
    });
  }

  /** Marks a message as deleted; again: nothing happens. `restoreMessage` undoes it. @throws `NOT_FOUND`, `CONFLICT` */
  async deleteMessage(conversationId: string, id: string, options: DeletionOptions = {}): Promise<Message> {
    const { reason, metadata, status, ...rest } = DELETION(options, 'options');
    return this.changeMessage('deleteMessage', conversationId, id, rest, async ({ unit, message }) =>
      message.value.deletedAt === undefined
        ? softDeletion(message.value, unit.now, status, defined({ reason, ...metadata }))
        : undefined,
    );
  }

  /** Undoes a deletion; of a message that is not deleted: nothing happens. @throws `NOT_FOUND`, `CONFLICT` */
  async restoreMessage(conversationId: string, id: string, options: ConversationChangeOptions = {}): Promise<Message> {
    return this.changeMessage('restoreMessage', conversationId, id, options, async ({ message }) => {
      const { deletedAt, deletedStatus, ...value } = message.value;
      if (deletedAt === undefined) return undefined;
      const next = { ...value, status: deletedStatus ?? value.status };
      const { messageType, status } = next;
      return { next, count: 1, events: [{ eventType: 'restored', metadata: { messageType, status } }] };
    });
  }

  private async changeMessage(
    operation: string,
    conversationId: string,
    id: string,
    options: ConversationChangeOptions,
    decide: (found: Found) => Promise<Change | undefined>,
  ): Promise<Message> {
    const [conversation, key] = [uuid(conversationId, 'conversationId'), uuid(id, 'id')];
    const { ifVersion, triggeredById, ...call } = CHANGE_OPTIONS(options, 'options');
    return this.decideOnState<Message>(operation, conversation, call, async (unit, find) => {
      const [owner, message] = await Promise.all([find(), unit.find(MESSAGES, key)]);
      if (owner === undefined || message?.value.conversationId !== conversation)
        throw this.missing('message', key, operation);
      checkIfVersion(message, 'message', ifVersion);
      const change = await decide({ unit, conversation: owner, message });
      if (change === undefined) return { result: this.messageOf(message), conversation: owner };
      return this.written({ unit, conversation: owner, message }, change, triggeredById);
    });
  }

  private written(
    { unit, conversation, message }: Found,
    { next, events, count = 0, revision = false, size = OWN }: Change,
    triggeredById: string | undefined,
  ): Decided<Message> {
    const left = this.touch(unit, conversation, { messageCount: conversation.value.messageCount + count });
    const after = teller(conversation, 1);
    if (revision) unit.insert(REVISIONS, revisionOf(message, unit.now, triggeredById), OWN);
    const changed = isSame(message.value, next) ? message : unit.replace(MESSAGES, message, next, size);
    for (const event of events) this.messageEvent(unit, after, message.id, event, triggeredById);
    return { result: this.messageOf(changed), conversation: left };
  }

  private edited(unit: Unit, message: StoredRecord<MessageValue>, edit: EditInput): Change | undefined {
    const { value } = message;
    const added = assetsOf(unit, edit.assets ?? []);
    const next: MessageValue = {
      ...value,
      ...(edit.content === undefined ? {} : { content: edit.content }),
      ...(edit.messageType === undefined ? {} : { messageType: edit.messageType }),
      ...(edit.status === undefined ? {} : { status: edit.status }),
      metadata: { ...value.metadata, ...edit.metadata },
      extra: { ...value.extra, ...edit.extra },
      ...(added === undefined ? {} : { assets: [...(value.assets ?? []), ...added] }),
    };
    const change = this.replaced(message, next, edit.events ?? []);
    return change && { ...change, size: {} };
  }

  private replaced(
    { id, value }: StoredRecord<MessageValue>,
    next: MessageValue,
    own: readonly EventInput[],
  ): Change | undefined {
    if (value.deletedAt !== undefined)
      throw new ConflictError('CONFLICT', `message ${JSON.stringify(id)} is deleted: restore it first`, {
        component: this.definition.name,
        details: { id, reason: 'deleted' },
      });
    const isOther = !isSame(value, next);
    if (!isOther && own.length === 0) return undefined;
    const { messageType, status } = next;
    const edited = { eventType: 'edited', metadata: { messageType, status } };
    const revision = FORMER.some((name) => !isSame(value[name], next[name]));
    return {
      next: revision ? { ...next, revisions: value.revisions + 1 } : next,
      revision,
      events: isOther ? [...own, edited] : own,
    };
  }
}

/** A message marked as deleted. */
export function softDeletion(value: MessageValue, at: Date, status: string, metadata: JsonObject): Change {
  const next: MessageValue = { ...value, deletedAt: at, deletedStatus: value.status, status };
  const { messageType } = value;
  return { next, count: -1, events: [{ eventType: 'soft_deleted', metadata: { ...metadata, messageType, status } }] };
}

function revisionOf(
  { id, value }: StoredRecord<MessageValue>,
  editedAt: Date,
  editedById: string | undefined,
): RevisionValue {
  const { conversationId, revisions, content, metadata, extra, messageType, status } = value;
  const state = { content, metadata, extra, messageType, status };
  return defined({ conversationId, messageId: id, revision: revisions + 1, ...state, editedAt, editedById });
}
