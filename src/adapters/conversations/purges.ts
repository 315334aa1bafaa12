/** What goes for good: messages, and conversations with all that hangs on them. */
import type { CallOptions } from '../../component.js';
import { uuid } from '../arguments.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import { deletionToldUntil } from '../events.js';
import type { StoreHost } from '../host.js';
import { checkIfVersion } from '../store.js';
import type { Unit } from '../unit.js';
import { JOBS } from '../jobs/records.js';
import { TASKS } from '../tasks/records.js';
import { EditStore } from './edits.js';
import { end, teller } from './ended.js';
import { CHANGE_OPTIONS } from './input.js';
import {
  CONVERSATIONS,
  EVENTS,
  MESSAGES,
  OWN,
  REVISIONS,
  type ConversationValue,
  type MessageValue,
} from './records.js';
import type { ConversationChangeOptions } from './threads.js';
import { dropVectors } from './vector-collection.js';

/** Gives the conversation, when it is (still) one to purge. */
export type Found = (
  unit: Unit,
  find: () => Promise<StoredRecord<ConversationValue> | undefined>,
) => Promise<StoredRecord<ConversationValue> | undefined>;

export abstract class PurgeStore extends EditStore {
  /**
   * Deletes a message for good, with its revisions, events and vectors. Deleted before or not.
   * @returns whether it was there. @throws `CONFLICT` for another version; `UNSUPPORTED`
   */
  async purgeMessage(conversationId: string, id: string, options: ConversationChangeOptions = {}): Promise<boolean> {
    const [conversation, key] = [uuid(conversationId, 'conversationId'), uuid(id, 'id')];
    const { ifVersion, triggeredById, ...call } = CHANGE_OPTIONS(options, 'options');
    return this.purge('purgeMessage', conversation, call, (inside) =>
      inside.decideOn<boolean>('purgeMessage', conversation, call, async (unit, find) => {
        const [owner, message] = await Promise.all([find(), unit.find(MESSAGES, key)]);
        if (owner === undefined || message?.value.conversationId !== conversation) return { result: false };
        checkIfVersion(message, 'message', ifVersion);
        inside.removeMessages(unit, owner, [message], triggeredById);
        await inside.dropChildren(owner, [message], call);
        return { result: true };
      }),
    );
  }

  /**
   * Deletes the messages of a conversation with all that hangs on them, and keeps the conversation.
   * @returns whether it is there. @throws `CONFLICT`, `UNSUPPORTED`
   */
  async resetConversation(id: string, options: ConversationChangeOptions = {}): Promise<boolean> {
    const key = uuid(id, 'id');
    const { ifVersion, triggeredById, ...call } = CHANGE_OPTIONS(options, 'options');
    return this.empty('resetConversation', key, call, asked(ifVersion), (unit, found) => {
      const { lastMessageAt: _last, embedded: _embedded, ...value } = found.value;
      unit.replace(CONVERSATIONS, found, { ...value, messageCount: 0, activeAt: unit.now }, OWN);
      unit.event(teller(found, 1), 'reset', { messages: found.value.messageCount }, { triggeredById });
    });
  }

  /**
   * Deletes a conversation and all that hangs on it. Tasks and jobs that live on its database stay, and name it no more. That
   * it was deleted, and how many messages it had, can be read from its events for 30 days.
   * @returns whether it was there. @throws `CONFLICT`, `UNSUPPORTED`
   */
  async deleteConversation(id: string, options: ConversationChangeOptions = {}): Promise<boolean> {
    const key = uuid(id, 'id');
    const { ifVersion, triggeredById, ...call } = CHANGE_OPTIONS(options, 'options');
    return this.deleteFound(key, call, asked(ifVersion), triggeredById);
  }

  /** As `deleteConversation`, of what `found` gives in the decision. */
  protected deleteFound(key: string, call: CallOptions, found: Found, triggeredById?: string): Promise<boolean> {
    return this.empty('deleteConversation', key, call, found, (unit, conversation) => {
      const messages = conversation.value.messageCount;
      unit.remove(CONVERSATIONS, conversation);
      const until = deletionToldUntil(unit.now);
      unit.event(end(unit, conversation), 'deleted', { messages }, { triggeredById }, until);
    });
  }

  /** Runs a purge in one transaction. */
  protected purge<R>(
    operation: string,
    id: string,
    options: CallOptions,
    work: (inside: this) => Promise<R>,
  ): Promise<R> {
    this.require('purges', operation);
    const run = (call: CallOptions): Promise<R> =>
      this.host.transaction(call, (host: StoreHost) => work(this.at(host)));
    if (this.inTransaction) return run(options);
    // What lives elsewhere is deleted after the commit.
    return this.steps(operation, () =>
      this.inTurn(operation, id, options, (remaining, known, key) => {
        known.forget(key);
        return run(remaining);
      }),
    );
  }

  /** Deletes messages of one conversation, which has to be done with `dropChildren`. */
  protected removeMessages(
    unit: Unit,
    owner: StoredRecord<ConversationValue>,
    messages: readonly StoredRecord<MessageValue>[],
    triggeredById: string | undefined,
  ): void {
    const live = messages.filter(({ value }) => value.deletedAt === undefined).length;
    this.touch(unit, owner, { messageCount: owner.value.messageCount - live });
    for (const message of messages) unit.remove(MESSAGES, message);
    const messageIds = messages.map(({ id }) => id);
    unit.event(teller(owner, 1), 'purged', { messageIds }, { triggeredById });
  }

  /** Deletes what hangs on messages. */
  protected async dropChildren(
    owner: StoredRecord<ConversationValue>,
    messages: readonly StoredRecord<MessageValue>[],
    options: CallOptions,
  ): Promise<void> {
    const ids = messages.map(({ id }) => id);
    const call = this.call(options);
    await this.records(REVISIONS).deleteWhere({ messageId: { $in: ids } }, call);
    await this.records(EVENTS).deleteWhere({ 'payload.messageId': { $in: ids } }, call);
    if (owner.value.embedded === true) await dropVectors(this.host, { messageId: { $in: ids } });
  }

  /** In the records of the stores on the same database. */
  private async unname(conversationId: string, call: CallOptions): Promise<void> {
    const { host } = this;
    const unset = { unset: ['conversationId'] } as const;
    if (host.isWith('tasks')) await host.collection('tasks', TASKS).updateWhere({ conversationId }, unset, call);
    if (host.isWith('jobs')) await host.collection('jobs', JOBS).updateWhere({ conversationId }, unset, call);
  }

  private async empty(
    operation: 'resetConversation' | 'deleteConversation',
    key: string,
    call: CallOptions,
    found: Found,
    finish: (unit: Unit, conversation: StoredRecord<ConversationValue>) => void,
  ): Promise<boolean> {
    const isGone = operation === 'deleteConversation';
    return this.purge(operation, key, call, async (inside) => {
      let embedded = false;
      // The conversation first: who writes to it meanwhile loses, and decides again.
      const isThere = await inside.decideOn<boolean>(operation, key, call, async (unit, find) => {
        const conversation = await found(unit, find);
        if (conversation === undefined) return { result: false };
        embedded = conversation.value.embedded === true;
        finish(unit, conversation);
        return { result: true };
      });
      if (!isThere) return false;
      await inside.records(MESSAGES).deleteWhere({ conversationId: key }, call);
      await inside.records(REVISIONS).deleteWhere({ conversationId: key }, call);
      const events = isGone ? { type: { $ne: 'conversation.deleted' } } : { 'payload.messageId': { $exists: true } };
      await inside.records(EVENTS).deleteWhere({ aggregateId: key, ...events }, call);
      if (embedded) await dropVectors(inside.host, { conversationId: key });
      if (isGone) await inside.unname(key, call);
      return true;
    });
  }
}

/** @throws `CONFLICT` when the caller meant another version. */
function asked(ifVersion: number | undefined): Found {
  return async (_unit, find) => {
    const found = await find();
    if (found !== undefined) checkIfVersion(found, 'conversation', ifVersion);
    return found;
  };
}
