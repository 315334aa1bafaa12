/** Searching messages by their words and by their vectors. */
import type { JsonObject } from '../../backends/backend.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import { within } from '../../clock.js';
import { boundsNow, withTimeLeft, type CallOptions } from '../../component.js';
import { invalid } from '../../errors.js';
import { evaluate, recordSubject } from '../../filter/evaluate.js';
import { FILTER_LIMITS } from '../../filter/fields.js';
import { tokenize } from '../../filter/text.js';
import { parseFilter, type Filter, type FilterNode } from '../../filter/syntax.js';
import { choice, integer, jsonObject, list, optional, text, uuid, withDefault, type Reader } from '../arguments.js';
import type { Unit } from '../unit.js';
import { containment, optionsOf } from './input.js';
import { MESSAGES, type Message, type MessageValue } from './records.js';
import { orNone } from './vector-collection.js';
import { COMPONENTS, MessageVectorStore } from './vectors.js';

export interface MessageSearch extends CallOptions {
  /** Words, all of which the content has: up to 255 different ones, one less for each condition beside them. */
  readonly text?: string | undefined;
  readonly vector?: readonly number[] | Float32Array | undefined;
  /** Makes the vector of the text, which is then searched by its words and by its meaning; of too many words by the latter alone. */
  readonly embed?: ((text: string) => Promise<readonly number[] | Float32Array>) | undefined;
  readonly metadata?: object | undefined;
  readonly conversationIds?: readonly string[] | undefined;
  /** 1 to 100; default 20. */
  readonly limit?: number | undefined;
  readonly offset?: number | undefined;
  /** Of `createdAt`, among messages of one score. Default: `desc`. */
  readonly order?: 'asc' | 'desc' | undefined;
  /** From 0 to 1: vectors of a lesser score find nothing. Default: 0. */
  readonly minScore?: number | undefined;
  /** How many vectors are looked at. Default: as many as `limit` and `offset` need. */
  readonly topK?: number | undefined;
}

export interface MessageHit {
  readonly conversationId: string;
  readonly message: Message;
  /** 1 for words, the cosine for a vector (above 0), the greater for both; 0 where nothing was searched for. */
  readonly score: number;
}

export interface MessageHits {
  /** How many were found, before `offset` and `limit`; of vectors among the `topK` nearest. */
  readonly count: number;
  readonly items: readonly MessageHit[];
}

const EMBED: Reader<(text: string) => Promise<unknown>> = (value, key) => {
  if (typeof value !== 'function') throw invalid(key, value, 'a function');
  return value as (text: string) => Promise<unknown>;
};
const SCORE: Reader<number> = (value, key) => {
  if (typeof value !== 'number' || !(value >= 0 && value <= 1)) throw invalid(key, value, 'a number from 0 to 1');
  return value;
};
const SEARCH = optionsOf({
  text: optional(text(8_192)),
  vector: optional(COMPONENTS),
  embed: optional(EMBED),
  metadata: optional(jsonObject),
  conversationIds: optional(list(uuid, 100)),
  limit: withDefault(integer(1, 100), 20),
  offset: withDefault(integer(0, 900), 0),
  order: withDefault(choice(['asc', 'desc']), 'desc'),
  minScore: withDefault(SCORE, 0),
  topK: optional(integer(1, 10_000)),
});

/** Vectors that are looked at, at most. */
const MOST = 10_000;
/** Messages that one filter names, beside what else it says. */
const AT_ONCE = 500;

type Hit = readonly [StoredRecord<MessageValue>, number];

export abstract class SearchStore extends MessageVectorStore {
  /**
   * Messages by their words, by their nearness to a vector, or by both; without either the recent ones. Never deleted ones.
   * @throws `UNSUPPORTED`, `CONFIGURATION` for a vector where there is no provider
   */
  async search(search: MessageSearch = {}): Promise<MessageHits> {
    const { embed, limit, offset, order, minScore, topK, ...asked } = SEARCH(search, 'search');
    if (embed !== undefined && (asked.text === undefined || asked.vector !== undefined))
      throw invalid('search.embed', embed, 'a function with a text and without a vector');
    const conditions = conditionsOf(asked);
    // One filter takes the conditions and the words, or the ids of what is near.
    const most = FILTER_LIMITS.leaves - conditions.length;
    if (most < 1)
      throw invalid(
        'search.metadata',
        asked.metadata,
        `fewer than ${FILTER_LIMITS.leaves} values, with the other conditions`,
      );
    const hasTooMany = asked.text !== undefined && tokenize(asked.text).length > most;
    if (hasTooMany && embed === undefined) throw invalid('search.text', asked.text, `at most ${most} different words`);
    const given = embed === undefined ? asked : await this.embedded(asked, () => embed(asked.text!));
    const { vector } = given;
    if (given.conversationIds?.length === 0) return { count: 0, items: [] };
    const words = hasTooMany ? undefined : given.text;
    const byWords = words !== undefined || vector === undefined;
    const filter: Filter<MessageValue> = { $and: [...conditions, ...(words === undefined ? [] : [{ $text: words }])] };
    const near = { conversationIds: given.conversationIds, conditions, words, minScore, topK, wanted: offset + limit };
    const [found, count, nearest] = await Promise.all([
      byWords
        ? this.read('search', given, (unit) =>
            unit.query(MESSAGES, filter, { sort: { createdAt: order }, limit: offset + limit }),
          )
        : [],
      byWords ? this.records(MESSAGES).count(filter, this.call(given)) : 0,
      vector === undefined ? [] : this.nearest(vector, near, given),
    ]);
    const sign = order === 'asc' ? 1 : -1;
    const time = ([{ createdAt }]: Hit): number => createdAt.getTime();
    nearest.sort((a, b) => b[1] - a[1] || sign * (time(a) - time(b)));
    const hits: Hit[] = [...found.map((record): Hit => [record, words === undefined ? 0 : 1]), ...nearest];
    const items = hits.slice(offset, offset + limit).map(([record, score]) => ({
      conversationId: record.value.conversationId,
      message: this.messageOf(record),
      score,
    }));
    return { count: count + nearest.length, items };
  }

  /** With the vector of the host's function, which has the caller's timeout; what it leaves is that of the rest. */
  private async embedded<O extends CallOptions>(
    asked: O,
    embed: () => Promise<unknown>,
  ): Promise<O & { readonly vector: readonly number[] }> {
    const { begin, clock } = this.host;
    const operation = this.operationName('search');
    const bounds = boundsNow(begin, operation, this.call(asked));
    const late = 'The deadline passed before the function had answered';
    const made = await within((async () => embed())(), bounds, clock, late, { operation });
    return { ...withTimeLeft(asked, bounds.deadline, clock), vector: COMPONENTS(made, 'search.embed()') };
  }

  /** The nearest messages, each by its best vector, but those that the words find too: their score is the greater one. */
  private async nearest(
    vector: readonly number[],
    { conversationIds, conditions, words, minScore, topK, wanted }: Near,
    options: CallOptions,
  ): Promise<Hit[]> {
    const { host } = this;
    const call = this.call(options);
    const filter =
      conversationIds === undefined ? {} : { filter: { conversationId: { $in: conversationIds } } as never };
    const found = words === undefined ? undefined : parseFilter({ $text: words }, MESSAGES.domain);
    const scores = new Map<string, number>();
    const live = new Map<string, StoredRecord<MessageValue>>();
    // Deleted messages are among the nearest, and filters of messages are not the provider's: then more are asked for.
    for (let k = topK ?? wanted; ; k = Math.min(k * 4, MOST)) {
      const asked = { vector, topK: k, include: { vector: false, metadata: true, text: false }, ...filter, ...call };
      const near = await orNone([], () => host.vectors().search(host.settings.conversations.vectors, asked));
      const ids: string[] = [];
      for (const { score, metadata } of near) {
        const id = metadata!['messageId'] as string;
        if (score <= 0 || score < minScore || scores.has(id)) continue;
        scores.set(id, Math.min(score, 1));
        ids.push(id);
      }
      for (const record of await this.read('search', options, (unit) => findAll(unit, ids, conditions)))
        live.set(record.id, record);
      const enough =
        live.size >= wanted ||
        near.length < k ||
        k === MOST ||
        near.some(({ score }) => score <= 0 || score < minScore);
      if (topK === undefined && !enough) continue;
      const hits = [...scores].flatMap(([id, score]): Hit[] => (live.has(id) ? [[live.get(id)!, score]] : []));
      return hits.filter(([record]) => found === undefined || !matches(found, record));
    }
  }
}

interface Near {
  readonly conversationIds: readonly string[] | undefined;
  readonly conditions: Filter<MessageValue>[];
  readonly words: string | undefined;
  readonly minScore: number;
  readonly topK: number | undefined;
  readonly wanted: number;
}

function conditionsOf({
  metadata,
  conversationIds,
}: {
  readonly metadata: JsonObject | undefined;
  readonly conversationIds: readonly string[] | undefined;
}): Filter<MessageValue>[] {
  return [
    { deletedAt: { $exists: false } },
    ...(conversationIds === undefined ? [] : [{ conversationId: { $in: conversationIds } }]),
    ...containment('metadata', metadata ?? {}),
  ] as Filter<MessageValue>[];
}

async function findAll(
  unit: Unit,
  ids: readonly string[],
  conditions: readonly Filter<MessageValue>[],
): Promise<StoredRecord<MessageValue>[]> {
  const found: StoredRecord<MessageValue>[] = [];
  for (let i = 0; i < ids.length; i += AT_ONCE)
    found.push(...(await unit.query(MESSAGES, { $and: [{ id: { $in: ids.slice(i, i + AT_ONCE) } }, ...conditions] })));
  return found;
}

function matches(tree: FilterNode, record: StoredRecord<MessageValue>): boolean {
  return evaluate(tree, recordSubject(record, MESSAGES.schema.text));
}
