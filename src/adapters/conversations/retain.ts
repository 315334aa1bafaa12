/** Retention of one tenant's conversations: what is too old is deleted, archived and purged, in small steps. */
import type { JsonObject } from '../../backends/backend.js';
import type { Sort } from '../../collection/options.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import type { CallOptions } from '../../component.js';
import type { Path } from '../../filter/paths.js';
import type { Filter } from '../../filter/syntax.js';
import { flag, integer, nullable, shape, withDefault, type Reader } from '../arguments.js';
import { invalid } from '../../errors.js';
import { groupBy } from '../../collection/group-by.js';
import type { Unit } from '../unit.js';
import type { Decided } from './base.js';
import { softDeletion } from './edits.js';
import { teller } from './ended.js';
import { optionsOf } from './input.js';
import { CONVERSATIONS, MESSAGES, OWN, type ConversationValue, type MessageValue } from './records.js';
import { portionsOf } from './portions.js';
import { SearchStore } from './search.js';
import { DAY } from '../retention/days.js';

/** Days, up to 365,000, and a count; absent, null, 0 or less: off. */
export interface ConversationRetention {
  readonly messageRetentionDays?: number | null | undefined;
  readonly softDeleteAfterDays?: number | null | undefined;
  readonly softDeleteGraceDays?: number | null | undefined;
  /** Since the last message, or since it was unarchived. */
  readonly conversationArchiveDays?: number | null | undefined;
  /** Since the archiving, and since the last message. */
  readonly archivedConversationRetentionDays?: number | null | undefined;
  /** Conversations that are not archived: the newest stay. */
  readonly maxConversations?: number | null | undefined;
}

export interface ConversationRetentionReport {
  readonly messages: { readonly softDeleted: number; readonly hardDeleted: number };
  readonly conversations: { readonly archived: number; readonly deleted: number };
}

const MOST_DAYS = 365_000;
const DAYS: Reader<number> = (value, key) => {
  if (typeof value !== 'number' || !(value <= MOST_DAYS)) throw invalid(key, value, `at most ${MOST_DAYS} days`);
  return value;
};
const POLICY = shape({
  messageRetentionDays: nullable(DAYS),
  softDeleteAfterDays: nullable(DAYS),
  softDeleteGraceDays: nullable(DAYS),
  conversationArchiveDays: nullable(DAYS),
  archivedConversationRetentionDays: nullable(DAYS),
  maxConversations: nullable(integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)),
});
const OPTIONS = optionsOf({ dryRun: withDefault(flag, false) });

/** The times before which each takes what is older, and a number; absent: off. */
type Rules = Readonly<Record<'soft' | 'grace' | 'old' | 'idle' | 'archived', Date | undefined>> & {
  readonly most: number | undefined;
};

/** Messages of one step, or fewer where they are large: with an event each and their conversations they fit a batch. */
export const STEP = 300;

export abstract class RetentionStore extends SearchStore {
  /**
   * Applies a policy to the tenant's conversations, in this order: messages marked as deleted, purged after their grace, purged
   * for their age; conversations archived for their age, archived for their number, deleted after their archiving. Each step is
   * at most 300 messages of one conversation (fewer where they are large), or one conversation, and atomic by itself: what was
   * cut short goes on when it is called again. @param options `timeout` bounds one step; `dryRun` counts what each rule meets
   * now, and changes nothing
   */
  async retain(
    policy: ConversationRetention,
    options: CallOptions & { readonly dryRun?: boolean | undefined } = {},
  ): Promise<ConversationRetentionReport> {
    const rules = POLICY(policy, 'policy');
    const { dryRun, ...call } = OPTIONS(options, 'options');
    const now = this.host.clock.now();
    const before = (days: number | null): Date | undefined =>
      days === null || days <= 0 ? undefined : new Date(now.getTime() - days * DAY);
    const soft = before(rules.softDeleteAfterDays);
    const grace = before(rules.softDeleteGraceDays);
    const old = before(rules.messageRetentionDays);
    const idle = before(rules.conversationArchiveDays);
    const archived = before(rules.archivedConversationRetentionDays);
    const most = rules.maxConversations === null || rules.maxConversations <= 0 ? undefined : rules.maxConversations;
    if (dryRun) return this.wouldRetain({ soft, grace, old, idle, archived, most }, call);
    if ([soft, grace, old, idle, archived, most].some((rule) => rule !== undefined)) this.require('purges', 'retain');
    return this.steps('retain', () => this.apply({ soft, grace, old, idle, archived, most }, call));
  }

  private async apply(
    { soft, grace, old, idle, archived, most }: Rules,
    call: CallOptions,
  ): Promise<ConversationRetentionReport> {
    const softDeleted =
      soft === undefined
        ? 0
        : await this.sweepMessages(softRule(soft), call, (ids, id) => this.softDeleteMany(id, ids, call));
    let hardDeleted = 0;
    for (const rule of purgeRules(grace, old))
      hardDeleted += await this.sweepMessages(rule, call, (ids, id) => this.purgeMany(id, ids, rule, call));
    let archivedNow = 0;
    if (idle !== undefined) {
      const rule = idleRule(idle);
      archivedNow += await this.sweepConversations(rule, call, (id) => this.archiveIf(id, rule, call));
    }
    if (most !== undefined)
      archivedNow += await this.sweepConversations(OPEN, call, (id) => this.archiveIf(id, OPEN, call), most);
    let deleted = 0;
    if (archived !== undefined) {
      const rule = archivedRule(archived);
      deleted = await this.sweepConversations(rule, call, (id) => this.deleteFound(id, call, still(id, rule)));
    }
    return { messages: { softDeleted, hardDeleted }, conversations: { archived: archivedNow, deleted } };
  }

  private async wouldRetain(
    { soft, grace, old, idle, archived, most }: Rules,
    options: CallOptions,
  ): Promise<ConversationRetentionReport> {
    const call = this.call(options);
    const purges = purgeRules(grace, old);
    const messages = this.records(MESSAGES);
    const conversations = this.records(CONVERSATIONS);
    const idles = idle === undefined ? 0 : await conversations.count(idleRule(idle), call);
    const open = most === undefined ? 0 : (await conversations.count(OPEN, call)) - idles;
    return {
      messages: {
        softDeleted: soft === undefined ? 0 : await messages.count(softRule(soft), call),
        hardDeleted: purges.length === 0 ? 0 : await messages.count({ $or: purges }, call),
      },
      conversations: {
        archived: idles + Math.max(0, open - (most ?? open)),
        deleted: archived === undefined ? 0 : await conversations.count(archivedRule(archived), call),
      },
    };
  }

  /** Takes the messages that a rule meets, a step at a time, by conversation. */
  private async sweepMessages(
    rule: Filter<MessageValue>,
    options: CallOptions,
    step: (ids: readonly string[], conversation: string) => Promise<number>,
  ): Promise<number> {
    // By the keys of the index that the rule is read from: by their times alone, all that are marked would be gone through.
    const sort: Sort<Path<MessageValue>> = {
      ...('deletedAt' in rule && { deletedAt: 'asc' }),
      createdAt: 'asc',
    };
    let left: StoredRecord<MessageValue> | undefined;
    for (let done = 0; ;) {
      const after = left;
      const found = await this.read('retain', options, (unit) =>
        unit.query(MESSAGES, rule, { sort, limit: STEP, after }),
      );
      let changed = 0;
      for (const [conversation, own] of groupBy(found, ({ value }) => value.conversationId))
        for (const portion of portionsOf(own))
          changed += await step(
            portion.map(({ id }) => id),
            conversation,
          );
      done += changed;
      if (found.length < STEP) return done;
      // What could not be taken would be found again, and be all that is found.
      if (changed < found.length) left = found.at(-1);
    }
  }

  private softDeleteMany(conversation: string, ids: readonly string[], options: CallOptions): Promise<number> {
    return this.decideOn<number>('retain', conversation, options, async (unit, find) => {
      const [owner, found] = await Promise.all([find(), unit.findMany(MESSAGES, ids)]);
      const live = found.filter((record) => record !== undefined && record.value.deletedAt === undefined);
      if (owner === undefined || live.length === 0) return { result: 0 };
      return this.markDeleted(unit, owner, live as StoredRecord<MessageValue>[], { reason: 'retention' });
    });
  }

  /** Marks messages of one conversation, which are not marked yet: a portion. */
  protected markDeleted(
    unit: Unit,
    owner: StoredRecord<ConversationValue>,
    live: readonly StoredRecord<MessageValue>[],
    metadata: JsonObject,
    triggeredById?: string,
  ): Decided<number> {
    const left = this.touch(unit, owner, { messageCount: owner.value.messageCount - live.length });
    const after = teller(owner, 1);
    for (const record of live) {
      const { next, events } = softDeletion(record.value, unit.now, 'deleted', metadata);
      unit.replace(MESSAGES, record, next, OWN);
      for (const event of events) this.messageEvent(unit, after, record.id, event, triggeredById);
    }
    return { result: live.length, conversation: left };
  }

  private purgeMany(
    conversation: string,
    ids: readonly string[],
    rule: Filter<MessageValue>,
    options: CallOptions,
  ): Promise<number> {
    return this.purge('retain', conversation, options, (inside) =>
      inside.decideOn<number>('retain', conversation, options, async (unit, find) => {
        // The rule again: a message may have been restored meanwhile.
        const [owner, found] = await Promise.all([
          find(),
          unit.query(MESSAGES, { $and: [{ id: { $in: ids } }, rule] }, { limit: STEP }),
        ]);
        if (owner === undefined || found.length === 0) return { result: 0 };
        inside.removeMessages(unit, owner, found, undefined);
        await inside.dropChildren(owner, found, options);
        return { result: found.length };
      }),
    );
  }

  /** Unless the rule does not hold any more: it may have been written to since it was found. */
  private archiveIf(id: string, rule: Filter<ConversationValue>, options: CallOptions): Promise<boolean> {
    return this.decideOn<boolean>('retain', id, options, async (unit) => {
      const found = await still(id, rule)(unit);
      return found === undefined ? { result: false } : this.archived(unit, found);
    });
  }

  /** Takes the conversations that a rule meets, the oldest first. @param keep so many that meet it stay, the newest */
  private async sweepConversations(
    rule: Filter<ConversationValue>,
    options: CallOptions,
    step: (id: string) => Promise<boolean>,
    keep?: number,
  ): Promise<number> {
    for (let done = 0; ;) {
      const page = await this.read('retain', options, (unit) =>
        unit.query(CONVERSATIONS, rule, { sort: { createdAt: 'asc' }, limit: STEP }),
      );
      // Counted after they were read, each time: what another run takes meanwhile is of these, or is not counted.
      const countExcess = async (most: number): Promise<number> =>
        keep === undefined
          ? Infinity
          : (await this.read('retain', options, (unit) => unit.count(CONVERSATIONS, rule, keep + most))) - keep;
      let excess = await countExcess(2 * STEP);
      let changed = 0;
      let isOver = false;
      for (const [i, { id }] of page.entries()) {
        // The last ones could be the ones to stay by now.
        if (i > 0 && excess <= STEP) excess = await countExcess(1);
        isOver = excess <= 0;
        if (isOver) break;
        if (await step(id)) changed++;
        excess--;
      }
      done += changed;
      if (page.length < STEP || changed === 0 || isOver) return done;
    }
  }
}

/** The conversation, when the rule meets it. */
function still(id: string, rule: Filter<ConversationValue>) {
  return async (unit: Unit): Promise<StoredRecord<ConversationValue> | undefined> =>
    (await unit.query(CONVERSATIONS, { $and: [{ id }, rule] }, { limit: 1 }))[0];
}

const OPEN: Filter<ConversationValue> = { archivedAt: { $exists: false } };

function softRule(before: Date): Filter<MessageValue> {
  return { deletedAt: { $exists: false }, createdAt: { $lt: before } };
}

function purgeRules(grace: Date | undefined, old: Date | undefined): Filter<MessageValue>[] {
  return [
    ...(grace === undefined ? [] : [{ deletedAt: { $lt: grace } }]),
    ...(old === undefined ? [] : [{ createdAt: { $lt: old } }]),
  ];
}

function idleRule(before: Date): Filter<ConversationValue> {
  return { archivedAt: { $exists: false }, activeAt: { $lt: before } };
}

function archivedRule(before: Date): Filter<ConversationValue> {
  return { archivedAt: { $lt: before }, activeAt: { $lt: before } };
}
