/** Reading messages: pages by their place in the conversation, streams, and what happens from now on. */
import type { StoredRecord } from '../../collection/record-codec.js';
import { eachStep, type CallOptions } from '../../component.js';
import { invalid } from '../../errors.js';
import { malformedCursor, packCursor, unpackCursor } from '../../filter/cursor.js';
import type { Filter } from '../../filter/syntax.js';
import { uuid } from '../arguments.js';
import type { ListPage } from '../page.js';
import { Unit } from '../unit.js';
import { endableLoop, orNoneIfAborted, wakeUps, type LoopEnd } from '../wake-ups.js';
import {
  EVENT_LIST,
  LIST,
  messageConditions,
  QUERY,
  RECENT,
  STREAM,
  TAIL,
  type MessageConditions,
  type MessageListOptions,
  type MessageQueryOptions,
  type TailOptions,
} from './history-options.js';
import { READ_OPTIONS } from './input.js';
import {
  EVENTS,
  MESSAGES,
  REVISIONS,
  type Message,
  type MessageEvent,
  type MessageEventPayload,
  type MessageRevision,
  type MessageValue,
} from './records.js';
import { ThreadStore } from './threads.js';

/** Ascending or descending by their place in the conversation. */
const BY_SEQ = { asc: { conversationId: 'asc', seq: 'asc' }, desc: { conversationId: 'desc', seq: 'desc' } } as const;
/** Revisions that are read at once. */
const PAGE = 1_000;

export abstract class HistoryStore extends ThreadStore {
  /** Deleted ones too. `null` when it is not there. */
  async getMessage(conversationId: string, id: string, options: CallOptions = {}): Promise<Message | null> {
    const [conversation, key] = [uuid(conversationId, 'conversationId'), uuid(id, 'id')];
    const found = await this.read('getMessage', READ_OPTIONS(options, 'options'), (unit) => unit.find(MESSAGES, key));
    return found?.value.conversationId === conversation ? this.messageOf(found) : null;
  }

  /**
   * One page, the oldest message first. A message's place never changes and none comes in between later, so that pages are
   * stable while others append. @throws `INVALID_CURSOR`
   */
  async listMessages(conversationId: string, options: MessageListOptions = {}): Promise<ListPage<Message>> {
    const conversation = uuid(conversationId, 'conversationId');
    const { limit, after, direction, ...rest } = LIST(options, 'options');
    const { signal: _signal, timeout: _timeout, ...filter } = rest;
    const conditions = messageConditions(filter);
    const query = JSON.stringify([this.host.tenant, conversation, conditions]);
    const cursor = after === undefined ? undefined : readCursor(after, query);
    const order = cursor === undefined ? (direction === 'forward' ? 'asc' : 'desc') : cursor.order;
    const found = await this.read('listMessages', rest, (unit) =>
      unit.query(
        MESSAGES,
        { $and: [{ conversationId: conversation, ...beyond(order, cursor?.seq) }, ...conditions] },
        { sort: BY_SEQ[order], limit: limit + 1 },
      ),
    );
    const more = found.length > limit;
    if (more) found.pop();
    if (order === 'desc') found.reverse();
    const [newer, older] = order === 'asc' ? [more, cursor !== undefined] : [cursor !== undefined, more];
    return {
      items: found.map((record) => this.messageOf(record)),
      ...(newer && found.length > 0 ? { next: packCursor(query, [1, found.at(-1)!.value.seq]) } : {}),
      ...(older && found.length > 0 ? { previous: packCursor(query, [-1, found[0]!.value.seq]) } : {}),
    };
  }

  /** Every message that `listMessages` would give, `batchSize` (default 200) in memory at a time; backward: the newest first. */
  async *streamMessages(
    conversationId: string,
    options: Omit<MessageListOptions, 'limit' | 'after'> & { readonly batchSize?: number | undefined } = {},
  ): AsyncGenerator<Message, void, undefined> {
    const conversation = uuid(conversationId, 'conversationId');
    const { batchSize, direction, ...rest } = STREAM(options, 'options');
    const { signal: _signal, timeout: _timeout, ...filter } = rest;
    const conditions = messageConditions(filter);
    const order = direction === 'forward' ? 'asc' : 'desc';
    const page = (place: number | undefined): Promise<StoredRecord<MessageValue>[]> =>
      this.read('streamMessages', rest, (unit) =>
        unit.query(
          MESSAGES,
          { $and: [{ conversationId: conversation, ...beyond(order, place) }, ...conditions] },
          { sort: BY_SEQ[order], limit: batchSize },
        ),
      );
    const pages = async function* (): AsyncGenerator<StoredRecord<MessageValue>[], void, undefined> {
      for (let last: number | undefined; ;) {
        const found = await page(last);
        yield found;
        if (found.length < batchSize) return;
        last = found.at(-1)!.value.seq;
      }
    };
    for await (const found of eachStep(this.host.admit, this.operationName('streamMessages'), pages))
      for (const record of found) yield this.messageOf(record);
  }

  /**
   * The newest messages, the oldest of them first, deleted ones included; never more than the setting
   * `conversations.historyLimit`. @param options `before`: the seq of a message: only those before it
   */
  async loadRecentMessages(
    conversationId: string,
    options: CallOptions & { readonly limit?: number | undefined; readonly before?: number | undefined } = {},
  ): Promise<Message[]> {
    const conversation = uuid(conversationId, 'conversationId');
    const { limit, before, ...call } = RECENT(options, 'options');
    const { historyLimit } = this.host.settings.conversations;
    const found = await this.read('loadRecentMessages', call, (unit) =>
      unit.query(
        MESSAGES,
        { conversationId: conversation, ...beyond('desc', before) },
        { sort: BY_SEQ.desc, limit: historyLimit > 0 ? Math.min(limit, historyLimit) : limit },
      ),
    );
    return found.reverse().map((record) => this.messageOf(record));
  }

  /** A page of messages of many conversations, by the time that they bear. @throws `INVALID_CURSOR` */
  async queryMessages(options: MessageQueryOptions = {}): Promise<ListPage<Message>> {
    const { limit, after, conversationIds, roles, userId, from, until, order, ...rest } = QUERY(options, 'options');
    const { signal: _signal, timeout: _timeout, ...filter } = rest;
    const conditions = [
      ...messageConditions(filter),
      ...(conversationIds === undefined ? [] : [{ conversationId: { $in: conversationIds } }]),
      ...(roles === undefined ? [] : [{ role: { $in: roles } }]),
      ...(userId === undefined ? [] : [{ userId }]),
      ...(from === undefined ? [] : [{ createdAt: { $gte: from } }]),
      ...(until === undefined ? [] : [{ createdAt: { $lt: until } }]),
    ] as MessageConditions[];
    const all = conditions.length === 0 ? {} : { $and: conditions };
    const page = await this.page(MESSAGES, all, { createdAt: order }, { ...this.call(rest), limit, after });
    return { ...page, items: page.items.map(({ deletedStatus: _status, ...message }) => message) };
  }

  /** Every former state of a message, the first first. They are read 1,000 at a time; `timeout` bounds one read. */
  async listRevisions(conversationId: string, id: string, options: CallOptions = {}): Promise<MessageRevision[]> {
    const [conversation, key] = [uuid(conversationId, 'conversationId'), uuid(id, 'id')];
    const call = READ_OPTIONS(options, 'options');
    const revisions: MessageRevision[] = [];
    for (let last = 0; ;) {
      const revision = { $gt: last };
      const page = await this.read('listRevisions', call, (unit) =>
        unit.query(
          REVISIONS,
          { messageId: key, revision, conversationId: conversation },
          { sort: { messageId: 'asc', revision: 'asc' }, limit: PAGE },
        ),
      );
      revisions.push(...page.map((record) => this.entity(record)));
      if (page.length < PAGE) return revisions;
      last = page.at(-1)!.value.revision;
    }
  }

  /** What happened to the messages of a conversation, or to one message, in its order. `after`: a seq of an event. */
  async listMessageEvents(
    options: CallOptions & {
      readonly conversationId?: string | undefined;
      readonly messageId?: string | undefined;
      readonly after?: number | undefined;
      readonly limit?: number | undefined;
    },
  ): Promise<MessageEvent[]> {
    const { conversationId, messageId, after, limit, ...call } = EVENT_LIST(options, 'options');
    if (conversationId === undefined && messageId === undefined)
      throw invalid('options.conversationId', undefined, 'a UUID, here or in messageId');
    const filter = {
      seq: { $gt: after },
      ...(conversationId === undefined ? {} : { aggregateId: conversationId }),
      'payload.messageId': messageId ?? { $exists: true },
    } as Filter<unknown> as never;
    const sort =
      messageId === undefined ? { aggregateId: 'asc', seq: 'asc' } : { 'payload.messageId': 'asc', seq: 'asc' };
    const found = await this.read('listMessageEvents', call, (unit) =>
      unit.query(EVENTS, filter, { sort: sort as never, limit }),
    );
    return found.map(({ id, createdAt, value }) => {
      const payload = value.payload as unknown as MessageEventPayload;
      const { aggregateId, seq } = value;
      return { id, tenantId: this.host.tenant, conversationId: aggregateId, ...payload, seq, createdAt };
    });
  }

  /**
   * Every message after `after`, and each new one when it is there, in the order of their seqs, until the loop ends or `signal`
   * aborts; deleted ones are left out. What else happens to messages is told by `watchEvents`.
   */
  tail(conversationId: string, options: TailOptions = {}): AsyncGenerator<Message, void, undefined> {
    return endableLoop((end) => this.newMessages(conversationId, options, end));
  }

  private async *newMessages(
    conversationId: string,
    options: TailOptions,
    end: LoopEnd,
  ): AsyncGenerator<Message, void, undefined> {
    const conversation = uuid(conversationId, 'conversationId');
    const { interval, signal: given, ...rest } = TAIL(options, 'options');
    let { after } = rest;
    const { host } = this;
    const { signal } = end;
    const isAborted = (): boolean => signal.aborted;
    end.follow(given);
    const wakes = wakeUps(host, 'conversation.message', conversation, interval, signal);
    try {
      while (!isAborted()) {
        wakes.arm();
        const place = after;
        const next = this.read('tail', { signal }, (unit) =>
          unit.query(
            MESSAGES,
            { conversationId: conversation, ...beyond('asc', place) },
            { sort: BY_SEQ.asc, limit: 200 },
          ),
        );
        const found = await orNoneIfAborted(next, signal);
        for (const record of found) {
          if (isAborted()) return;
          after = record.value.seq;
          if (record.value.deletedAt === undefined) yield this.messageOf(record);
        }
        if (found.length === 0) await wakes.next();
      }
    } finally {
      wakes.stop();
      end.end();
    }
  }

  protected read<R>(operation: string, options: CallOptions, work: (unit: Unit) => Promise<R>): Promise<R> {
    const { host, definition } = this;
    return this.run(operation, this.call(options), (context) =>
      work(new Unit(host, context, definition.events, definition.prefix)),
    );
  }
}

function beyond(order: 'asc' | 'desc', seq: number | undefined): { readonly seq?: { $gt: number } | { $lt: number } } {
  if (seq === undefined) return {};
  return { seq: order === 'asc' ? { $gt: seq } : { $lt: seq } };
}

function readCursor(after: string, query: string): { readonly order: 'asc' | 'desc'; readonly seq: number } {
  const [direction, seq] = unpackCursor(after, query, 2);
  if ((direction !== 1 && direction !== -1) || !Number.isSafeInteger(seq) || (seq as number) < 0)
    throw malformedCursor();
  return { order: direction === 1 ? 'asc' : 'desc', seq: seq as number };
}
