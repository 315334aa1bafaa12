/** Conversations themselves: made, found, named, archived. */
import type { JsonObject } from '../../backends/backend.js';
import { makeUuid } from '../../collection/ids.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import type { CallOptions } from '../../component.js';
import { invalid } from '../../errors.js';
import { instant, choice, flag, optional, uuid, withDefault } from '../arguments.js';
import type { Actor } from '../events.js';
import { PAGE_MEMBERS } from '../options.js';
import type { ListPage } from '../page.js';
import { checkIfVersion, type ChangeOptions } from '../store.js';
import type { Unit } from '../unit.js';
import type { Decided } from './base.js';
import { ANEW, claimBeginning, teller, type Beginning } from './ended.js';
import { defined } from '../defined.js';
import { ARCHIVE, CHANGE_OPTIONS, CONVERSATION, ENSURE_OPTIONS, NAME, optionsOf, READ_OPTIONS } from './input.js';
import { CONVERSATIONS, outward, OWN, SESSIONS, type Conversation, type ConversationValue } from './records.js';
import { isSame, UserStore } from './users.js';

/** Who did it is kept in the events. */
export type Trigger = Pick<Actor, 'triggeredById'>;
export type EnsureOptions = ChangeOptions & Trigger & { readonly idempotencyKey?: string | undefined };
export type ConversationChangeOptions = ChangeOptions & Trigger;

export interface ConversationChanges {
  readonly title?: string | undefined;
  /** A session that is there. */
  readonly sessionId?: string | undefined;
  readonly metadata?: object | undefined;
}

export type ArchiveOptions = ConversationChangeOptions & {
  /** Default: now. */
  readonly at?: Date | string | undefined;
  readonly metadata?: object | undefined;
};

export interface ConversationListOptions extends CallOptions {
  readonly limit?: number | undefined;
  readonly after?: string | undefined;
  /** Default: true. */
  readonly includeArchived?: boolean | undefined;
  readonly sessionId?: string | undefined;
  readonly userId?: string | undefined;
  readonly updatedAfter?: Date | string | undefined;
  /** `activeAt` is the time of the last message, or a later one when it was unarchived. Default: `createdAt`. */
  readonly by?: 'createdAt' | 'activeAt' | undefined;
  /** Default: `desc`. */
  readonly order?: 'asc' | 'desc' | undefined;
}

const LIST = optionsOf({
  ...PAGE_MEMBERS,
  includeArchived: withDefault(flag, true),
  sessionId: optional(uuid),
  userId: optional(uuid),
  updatedAfter: optional(instant),
  by: withDefault(choice(['createdAt', 'activeAt']), 'createdAt'),
  order: withDefault(choice(['asc', 'desc']), 'desc'),
});

export abstract class ThreadStore extends UserStore {
  /**
   * The conversation of this id (`undefined`: a new one); made, or changed when something is new. Metadata are merged.
   * @throws `NOT_FOUND` for the session, and with `ifVersion` for the conversation; `CONFLICT` for another version, and for an
   * idempotency key of other content.
   */
  async ensureConversation(
    id: string | undefined,
    changes: ConversationChanges = {},
    options: EnsureOptions = {},
  ): Promise<Conversation> {
    const given = optional(uuid)(id, 'id');
    const { title, sessionId, metadata } = CONVERSATION(changes, 'conversation');
    const { triggeredById, idempotencyKey, ifVersion, ...call } = ENSURE_OPTIONS(options, 'options');
    if (given === undefined && ifVersion !== undefined)
      throw invalid('options.ifVersion', ifVersion, 'none for a new conversation');
    const key = given ?? makeUuid(this.host.clock.now());
    return this.decideOn('ensureConversation', key, this.call(call), async (unit, find) => {
      const [once, found, session] = await Promise.all([
        unit.once('ensureConversation', idempotencyKey, [given ?? null, title, sessionId, metadata]),
        find(),
        sessionId === undefined ? undefined : unit.find(SESSIONS, sessionId),
      ]);
      if (once.result !== undefined) {
        const before = once.result === key ? found : await unit.find(CONVERSATIONS, once.result);
        if (before === undefined) throw this.forgotten('The conversation', once.result, 'ensureConversation');
        return { result: this.conversationOf(before), conversation: found };
      }
      if (sessionId !== undefined && session === undefined)
        throw this.missing('session', sessionId, 'ensureConversation');
      if (found !== undefined) checkIfVersion(found, 'conversation', ifVersion);
      else if (ifVersion !== undefined) throw this.missing('conversation', key, 'ensureConversation');
      const userId = session?.value.userId;
      once.remember(key);
      if (found === undefined) {
        const beginning = given === undefined ? ANEW : await claimBeginning(unit, key);
        const made = this.newConversation(unit, key, { title, sessionId, userId, metadata }, beginning);
        unit.event(teller(made), 'created', defined({ title }), { triggeredById });
        return { result: this.conversationOf(made), conversation: made };
      }
      const { value } = found;
      const taken = sessionId === undefined ? {} : { sessionId, userId };
      const next: ConversationValue = defined({
        ...value,
        title: title ?? value.title,
        ...taken,
        metadata: { ...value.metadata, ...metadata },
      });
      return this.changed(unit, found, next, triggeredById);
    });
  }

  /** `null` when it is not there. */
  async getConversation(id: string, options: CallOptions = {}): Promise<Conversation | null> {
    const key = uuid(id, 'id');
    const call = READ_OPTIONS(options, 'options');
    const found = await this.run('getConversation', call, () => this.records(CONVERSATIONS).find(key, this.call(call)));
    return found === undefined ? null : this.conversationOf(found);
  }

  async listConversations(options: ConversationListOptions = {}): Promise<ListPage<Conversation>> {
    const { limit, after, includeArchived, sessionId, userId, updatedAfter, by, order, ...call } = LIST(
      options,
      'options',
    );
    const filter = {
      ...(includeArchived ? {} : { archivedAt: { $exists: false } }),
      ...(sessionId === undefined ? {} : { sessionId }),
      ...(userId === undefined ? {} : { userId }),
      ...(updatedAfter === undefined ? {} : { updatedAt: { $gt: updatedAfter } }),
    };
    const page = await this.page(CONVERSATIONS, filter, { [by]: order }, { ...call, limit, after });
    return {
      ...page,
      items: page.items.map(outward),
    };
  }

  /** A blank title takes the title away. @throws `NOT_FOUND`, `CONFLICT` */
  async renameConversation(id: string, title: string, options: ConversationChangeOptions = {}): Promise<Conversation> {
    const name = optional(NAME)(title, 'title');
    return this.change('renameConversation', id, options, (value) => {
      const { title: _before, ...rest } = value;
      return defined({ ...rest, title: name });
    });
  }

  /** @returns whether it was archived now: false when it is not there, or was before. @throws `CONFLICT` */
  async archiveConversation(id: string, options: ArchiveOptions = {}): Promise<boolean> {
    const key = uuid(id, 'id');
    const { at, metadata, ifVersion, triggeredById, ...call } = ARCHIVE(options, 'options');
    return this.decideOn<boolean>('archiveConversation', key, this.call(call), async (unit, find) => {
      const found = await find();
      if (found !== undefined) checkIfVersion(found, 'conversation', ifVersion);
      if (found?.value.archivedAt !== undefined || found === undefined) return { result: false };
      return this.archived(unit, found, { at, metadata }, triggeredById);
    });
  }

  /**
   * It counts as active from now, so that no retention archives it again for its age.
   * @returns whether it was unarchived now: false when it is not there, or not archived. @throws `CONFLICT`
   */
  async unarchiveConversation(id: string, options: ConversationChangeOptions = {}): Promise<boolean> {
    const key = uuid(id, 'id');
    const { ifVersion, triggeredById, ...call } = CHANGE_OPTIONS(options, 'options');
    return this.decideOn<boolean>('unarchiveConversation', key, this.call(call), async (unit, find) => {
      const found = await find();
      if (found !== undefined) checkIfVersion(found, 'conversation', ifVersion);
      if (found?.value.archivedAt === undefined) return { result: false };
      const activeAt = found.value.activeAt > unit.now ? found.value.activeAt : unit.now;
      const { archivedAt: _was, ...value } = found.value;
      const left = unit.replace(CONVERSATIONS, found, { ...value, activeAt });
      unit.event(teller(found, 1), 'unarchived', {}, { triggeredById });
      return { result: true, conversation: left };
    });
  }

  /** Archives one that is not archived. */
  protected archived(
    unit: Unit,
    found: StoredRecord<ConversationValue>,
    { at = unit.now, metadata }: { readonly at?: Date | undefined; readonly metadata?: JsonObject | undefined } = {},
    triggeredById?: string,
  ): Decided<boolean> {
    const { value } = found;
    const next = { ...value, archivedAt: at, metadata: { ...value.metadata, ...metadata } };
    const left = unit.replace(CONVERSATIONS, found, next, metadata === undefined ? OWN : {});
    unit.event(teller(found, 1), 'archived', defined({ metadata }), { triggeredById });
    return { result: true, conversation: left };
  }

  protected newConversation(
    unit: Unit,
    id: string,
    given: { readonly [K in keyof ConversationValue]?: ConversationValue[K] | undefined },
    { lastSeq, formerVersion }: Beginning,
  ): StoredRecord<ConversationValue> {
    const { messageCount = 0, activeAt = unit.now, metadata = {}, ...rest } = given;
    return unit.insert<ConversationValue>(
      CONVERSATIONS,
      defined({
        ...rest,
        tenant: unit.tenant,
        messageCount,
        lastSeq: lastSeq + messageCount,
        activeAt,
        metadata,
        formerVersion,
      }),
      { id },
    );
  }

  private async change(
    operation: string,
    id: string,
    options: ConversationChangeOptions,
    changed: (value: ConversationValue) => ConversationValue,
  ): Promise<Conversation> {
    const key = uuid(id, 'id');
    const { ifVersion, triggeredById, ...call } = CHANGE_OPTIONS(options, 'options');
    return this.decideOn(operation, key, this.call(call), async (unit, find) => {
      const found = await find();
      if (found === undefined) throw this.missing('conversation', key, operation);
      checkIfVersion(found, 'conversation', ifVersion);
      return this.changed(unit, found, changed(found.value), triggeredById);
    });
  }

  private changed(
    unit: Unit,
    found: StoredRecord<ConversationValue>,
    next: ConversationValue,
    triggeredById: string | undefined,
  ): Decided<Conversation> {
    const names = Object.keys({ ...found.value, ...next }) as (keyof ConversationValue)[];
    const changed = names.filter((name) => !isSame(found.value[name], next[name]));
    if (changed.length === 0) return { result: this.conversationOf(found), conversation: found };
    const left = unit.replace(CONVERSATIONS, found, next);
    unit.event(teller(left), 'updated', { changed }, { triggeredById });
    return { result: this.conversationOf(left), conversation: left };
  }
}
