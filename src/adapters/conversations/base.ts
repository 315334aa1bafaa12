/** What every part of the conversation store stands on: decisions about one conversation, and what its callers get. */
import type { JsonValue } from '../../backends/backend.js';
import { copyJson } from '../../backends/value.js';
import { within } from '../../clock.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import { withTimeLeft, type CallOptions } from '../../component.js';
import { isStorageError, UnsupportedError } from '../../errors.js';
import { isDate } from '../../filter/json.js';
import type { StoreHost } from '../host.js';
import { callOptions, Store } from '../store.js';
import type { Patched } from '../unit-options.js';
import type { Unit } from '../unit.js';
import type { EventInput } from './input.js';
import { recentConversations, type RecentConversations } from './recent.js';
import {
  CONVERSATION_STORE,
  CONVERSATIONS,
  outward,
  type Conversation,
  type ConversationState,
  type ConversationValue,
  type Message,
  type MessageEventPayload,
  type MessageValue,
} from './records.js';

/** What the database lets the store do; the rest is refused with `UNSUPPORTED` before any I/O. */
export interface ConversationCapabilities {
  readonly reads: true;
  /** Users, and sessions of users that are there. */
  readonly users: true;
  /** Making and changing conversations and messages, retention, import: several records in one atomic batch. */
  readonly writes: boolean;
  /** Purging: messages, a reset, a conversation, each with all that hangs on it in one transaction. */
  readonly purges: boolean;
}

/** What a decision gives. */
export interface Decided<R> {
  readonly result: R;
  /** The conversation as the decision leaves it. */
  readonly conversation?: StoredRecord<ConversationState> | Patched<ConversationValue> | undefined;
}

const QUEUED = 'The writes of the conversation that were asked for before took too long';
/** Tries of a decision that met a unique constraint: what took the value is then there to be read. */
const TRIES = 3;

export abstract class ConversationBase extends Store {
  constructor(host: StoreHost) {
    super(CONVERSATION_STORE, host);
  }

  get capabilities(): ConversationCapabilities {
    const { batch, transactions } = this.host.backend.capabilities;
    return { reads: true, users: true, writes: batch === 'atomic', purges: transactions !== 'none' };
  }

  protected get inTransaction(): boolean {
    return this.host.outbox !== undefined;
  }

  /** @throws `UNSUPPORTED` */
  protected require(capability: 'writes' | 'purges', operation: string): void {
    if (this.capabilities[capability]) return;
    const lacking = capability === 'writes' ? 'atomic batches' : 'transactions';
    throw new UnsupportedError(`conversations.${operation}: ${this.host.backend.name} has no ${lacking}`, {
      operation,
    });
  }

  /** As `decide`, about one conversation, after the other decisions of this process about it. `conversation` reads it. */
  protected decideOn<R>(
    operation: string,
    id: string,
    options: CallOptions,
    plan: (unit: Unit, conversation: () => Promise<StoredRecord<ConversationValue> | undefined>) => Promise<Decided<R>>,
  ): Promise<R> {
    return this.decideInTurn(operation, id, options, (unit) => plan(unit, () => unit.find(CONVERSATIONS, id)));
  }

  /**
   * As `decideOn`. `conversation` may give at first what this process wrote last, for decisions whose every write of it is
   * conditional on what they took from it, and that never end without a write for what they took from it: then nothing has to
   * be read.
   */
  protected decideOnState<R>(
    operation: string,
    id: string,
    options: CallOptions,
    plan: (
      unit: Unit,
      conversation: () => Promise<StoredRecord<ConversationState> | undefined>,
      isRecent: boolean,
    ) => Promise<Decided<R>>,
  ): Promise<R> {
    // With the outbox a decision is a transaction of its own.
    const mayBeRecent = !this.host.settings.events.outbox;
    return this.decideInTurn(operation, id, options, (unit, recent) => {
      const known = mayBeRecent ? recent : undefined;
      const read = (): Promise<StoredRecord<ConversationState> | undefined> =>
        known === undefined ? unit.find(CONVERSATIONS, id) : Promise.resolve(known);
      return plan(unit, read, known !== undefined);
    });
  }

  /** @param plan gets, the first time, what this process wrote last */
  private async decideInTurn<R>(
    operation: string,
    id: string,
    options: CallOptions,
    plan: (unit: Unit, recent: StoredRecord<ConversationState> | undefined) => Promise<Decided<R>>,
  ): Promise<R> {
    this.require('writes', operation);
    if (this.inTransaction) {
      const decided = await this.decide(operation, options, (unit) => plan(unit, undefined));
      return decided.result;
    }
    return this.inTurn(operation, id, options, async (remaining, known, key) => {
      // Whatever becomes of the decision, what was known before it is not what is true after it.
      let hint = known.take(key);
      const { result, conversation } = await this.again(() =>
        this.decide(operation, remaining, (unit) => {
          const first = hint;
          hint = undefined;
          return plan(unit, first);
        }),
      );
      const record = conversation !== undefined && 'record' in conversation ? conversation.record() : conversation;
      if (record !== undefined) known.keep(key, record);
      return result;
    });
  }

  /**
   * Runs `work` after what this process was asked before to write to the conversation.
   * @param work gets the options with the time that remains after the waiting
   */
  protected inTurn<R>(
    operation: string,
    id: string,
    options: CallOptions,
    work: (options: CallOptions, known: RecentConversations, key: string) => Promise<R>,
  ): Promise<R> {
    const { host } = this;
    const known = recentConversations(host.backend);
    const key = `${host.tenant}\n${id}`;
    const wait = (turn: Promise<void>): Promise<CallOptions> =>
      this.run(operation, options, async (context) => {
        await within(turn, context, host.clock, QUEUED);
        return withTimeLeft(options, context.deadline, host.clock);
      });
    return known.turn(key, wait, (remaining = options) => work(remaining, known, key));
  }

  /** Decides again when another writer took a unique value meanwhile; in a transaction that is the transaction's end. */
  protected async again<R>(decide: () => Promise<R>): Promise<R> {
    for (let attempt = 1; ; attempt++)
      try {
        return await decide();
      } catch (error) {
        if (this.inTransaction || attempt === TRIES || !isStorageError(error, 'ALREADY_EXISTS')) throw error;
      }
  }

  /**
   * Counts a write of the conversation's messages in the conversation. It holds only for what was read of it, so that what a
   * conversation made anew under the same id has is never overwritten.
   */
  protected touch(
    unit: Unit,
    { id, version, value }: StoredRecord<ConversationState>,
    changes: Partial<ConversationValue>,
    unset: readonly 'userId'[] = [],
  ): Patched<ConversationValue> {
    const { lastSeq, messageCount, activeAt } = value;
    return unit.patch<ConversationValue>(
      CONVERSATIONS,
      id,
      unset.length === 0 ? { set: { messageCount, ...changes } } : { set: { messageCount, ...changes }, unset },
      { ifVersion: version, if: { lastSeq, messageCount, activeAt } },
    );
  }

  /** Something that happened to a message. `conversation` is as this unit leaves it. */
  protected messageEvent(
    unit: Unit,
    conversation: { readonly id: string; readonly version: number },
    messageId: string,
    { eventType, metadata }: EventInput,
    triggeredById: string | undefined,
  ): void {
    const payload: MessageEventPayload = { messageId, eventType, metadata };
    unit.event(conversation, 'message', payload, { triggeredById });
  }

  protected conversationOf(record: StoredRecord<ConversationValue>): Conversation {
    // A copy: the record may be kept.
    const copied = Object.entries(record.value).map(([name, member]) => [
      name,
      isDate(member) ? new Date(member) : copyJson(member as JsonValue),
    ]);
    const value = Object.fromEntries(copied) as ConversationValue;
    return outward(this.entity({ ...record, value }));
  }

  /** Takes the record over: what a page costs here is mostly the making of objects. */
  protected messageOf({ id, version, createdAt, updatedAt, value }: StoredRecord<MessageValue>): Message {
    const tenantId = this.host.tenant;
    const message = Object.assign(value, { id, tenantId, version, createdAt, updatedAt });
    if (message.deletedStatus === undefined) return message;
    const { deletedStatus: _status, ...rest } = message;
    return rest;
  }

  protected call(options: CallOptions): CallOptions {
    return callOptions(options);
  }
}
