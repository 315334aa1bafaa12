/** Vectors of messages: kept by the vector provider, found by message and conversation. */
import { createHash } from 'node:crypto';
import type { JsonObject } from '../../backends/backend.js';
import type { CallOptions } from '../../component.js';
import { ConflictError, invalid } from '../../errors.js';
import { jsonObject, list, optional, shape, text, uuid, withDefault, type Reader } from '../arguments.js';
import { defined } from '../defined.js';
import { VECTOR_LIMITS } from '../../vectors/codec/limits.js';
import type { FetchedRecord, MetadataValue } from '../../vectors/vector-store.js';
import { optionsOf, READ_OPTIONS } from './input.js';
import { PurgeStore } from './purges.js';
import { MESSAGES } from './records.js';
import { checkVectorRecord, inVectorCollection, orNone, type VectorConditions } from './vector-collection.js';

export interface NewMessageVector {
  /** `values` says the same. */
  readonly embedding?: readonly number[] | Float32Array | undefined;
  readonly values?: readonly number[] | Float32Array | undefined;
  readonly provider?: string | undefined;
  /** `embeddingModel` says the same. */
  readonly model?: string | undefined;
  readonly embeddingModel?: string | undefined;
  readonly modelVersion?: string | undefined;
  /**
   * `id` says the same. Default: made of message, provider, model and its version, of which each has one vector then; with keys
   * of the host's own there may be several of them: the key alone is unique.
   */
  readonly vectorKey?: string | undefined;
  readonly id?: string | undefined;
  /** Default: SHA-1 over the components as big-endian 64-bit floats, in hex. */
  readonly checksum?: string | undefined;
  /** Nothing else of the vector than what it says itself: of the members above, or those that the store fills in. */
  readonly metadata?: object | undefined;
}

export interface MessageVector {
  readonly vectorKey: string;
  readonly conversationId: string;
  readonly messageId: string;
  readonly embedding: Float32Array;
  readonly metadata: Readonly<Record<string, MetadataValue>>;
  readonly createdAt: Date;
}

/** All that are said hold together; at least one has to be, and an empty list matches nothing. */
export interface VectorSelection {
  readonly conversationId?: string | undefined;
  readonly messageId?: string | undefined;
  readonly messageIds?: readonly string[] | undefined;
  readonly vectorKeys?: readonly string[] | undefined;
  readonly provider?: string | undefined;
}

const SHORT = optional(text(512));

export const COMPONENTS: Reader<readonly number[]> = (value, key) => {
  const expected = 'finite numbers, at least one';
  if (!Array.isArray(value) && !(value instanceof Float32Array)) throw invalid(key, value, expected);
  const numbers = Array.from(value as Iterable<unknown>);
  if (numbers.length === 0 || !numbers.every(Number.isFinite)) throw invalid(key, value, expected);
  return numbers as number[];
};

const VECTOR = shape({
  embedding: optional(COMPONENTS),
  values: optional(COMPONENTS),
  provider: SHORT,
  model: SHORT,
  embeddingModel: SHORT,
  modelVersion: optional(text(256)),
  vectorKey: SHORT,
  id: SHORT,
  checksum: SHORT,
  metadata: withDefault(jsonObject, {}),
});
const SELECTION = shape({
  conversationId: optional(uuid),
  messageId: optional(uuid),
  messageIds: optional(list(uuid)),
  vectorKeys: optional(list(text(512))),
  provider: SHORT,
});
const UPSERT = optionsOf({});

interface Prepared {
  readonly id: string;
  readonly vector: readonly number[];
  readonly metadata: JsonObject;
}

export abstract class MessageVectorStore extends PurgeStore {
  /**
   * Writes vectors of a message; those of the same key are replaced. All vectors of all messages have one dimension: that of
   * the first. They are not written in one atomic step with what the conversation keeps: it is marked to have some before, and
   * written to after, so that of a purge at the same moment either finds them, or they are deleted here.
   * @throws `NOT_FOUND`; `ALREADY_EXISTS` for a key of another message (which is looked up before the write, and no constraint:
   * of two processes that write one key at the same moment the later one has it); `VALIDATION` for another dimension, for a
   * key that is given twice, and for metadata that say something else of the vector than it does itself; `UNSUPPORTED`.
   */
  async upsertMessageVectors(
    messageId: string,
    vectors: readonly NewMessageVector[],
    options: CallOptions = {},
  ): Promise<MessageVector[]> {
    const key = uuid(messageId, 'messageId');
    const given = list(VECTOR, 1_000)(vectors, 'vectors').map((vector, i) => prepare(vector, key, `vectors[${i}]`));
    const call = UPSERT(options, 'options');
    const dimension = given[0]?.vector.length;
    if (dimension === undefined) return [];
    const odd = given.findIndex(({ vector }) => vector.length !== dimension);
    if (odd >= 0) throw invalid(`vectors[${odd}].embedding`, given[odd]!.vector, `${dimension} numbers`);
    const keys = given.map(({ id }) => id);
    const twice = keys.findIndex((id, i) => keys.indexOf(id) !== i);
    if (twice >= 0) throw invalid(`vectors[${twice}].vectorKey`, keys[twice], 'each key once');
    return this.steps('upsertMessageVectors', () => this.upsertVectors(key, given, keys, call));
  }

  private async upsertVectors(
    key: string,
    given: readonly Prepared[],
    keys: readonly string[],
    call: CallOptions,
  ): Promise<MessageVector[]> {
    const dimension = given[0]!.vector.length;
    const conversationId = await this.markEmbedded(key, given, call);
    const { host } = this;
    const name = host.settings.conversations.vectors;
    const written = await inVectorCollection(host, dimension, async () => {
      const store = host.vectors();
      const before = await store.fetch(name, keys, this.call(call));
      const taken = before.find((vector) => vector !== undefined && vector.metadata?.['messageId'] !== key);
      if (taken !== undefined)
        throw new ConflictError('ALREADY_EXISTS', `The vector ${JSON.stringify(taken.id)} is another message's`, {
          component: 'conversations',
          operation: 'upsertMessageVectors',
          details: { constraint: 'vectorKey', existingId: taken.metadata?.['messageId'] },
        });
      const records = given.map(({ id, vector, metadata }, i) => ({
        id,
        vector,
        metadata: {
          namespace: conversationId,
          ...(metadata as Record<string, MetadataValue>),
          conversationId,
          createdAt: before[i]?.metadata?.['createdAt'] ?? host.clock.now(),
        },
      }));
      await store.upsert(name, records, this.call(call));
      return records.map((record) => rowOf({ ...record, vector: Float32Array.from(record.vector) }));
    });
    if (await this.settleAfterPurges(conversationId, key, call)) return written;
    await host.vectors().delete(name, { filter: { messageId: key } as never }, this.call(call));
    throw this.missing('message', key, 'upsertMessageVectors');
  }

  /** The first made first. */
  async listMessageVectors(selection: VectorSelection, options: CallOptions = {}): Promise<MessageVector[]> {
    const found = await this.selected(selection, true, READ_OPTIONS(options, 'options'));
    return found
      .map(rowOf)
      .sort((a, b) => a.createdAt.getTime() - b.createdAt.getTime() || (a.vectorKey < b.vectorKey ? -1 : 1));
  }

  /** Gives how many there were. */
  async deleteMessageVectors(selection: VectorSelection, options: CallOptions = {}): Promise<number> {
    const call = this.call(READ_OPTIONS(options, 'options'));
    return this.steps('deleteMessageVectors', async () => {
      const ids = (await this.selected(selection, false, call)).map(({ id }) => id);
      const name = this.host.settings.conversations.vectors;
      for (let i = 0; i < ids.length; i += VECTOR_LIMITS.ids)
        await this.host.vectors().delete(name, { ids: ids.slice(i, i + VECTOR_LIMITS.ids) }, call);
      return ids.length;
    });
  }

  /** So that a purge knows that there are vectors. @returns the conversation */
  private async markEmbedded(messageId: string, given: readonly Prepared[], options: CallOptions): Promise<string> {
    const message = await this.read('upsertMessageVectors', options, (unit) => unit.find(MESSAGES, messageId));
    if (message === undefined) throw this.missing('message', messageId, 'upsertMessageVectors');
    const { conversationId } = message.value;
    given.forEach(({ metadata }, i) => checkSaid(metadata, { conversationId }, `vectors[${i}]`));
    // Throws where there can be none: before anything is written.
    this.host.vectors();
    await this.decideOn('upsertMessageVectors', conversationId, options, async (unit, find) => {
      const found = await find();
      if (found === undefined) throw this.missing('message', messageId, 'upsertMessageVectors');
      if (found.value.embedded === true) return { result: undefined, conversation: found };
      return { result: undefined, conversation: this.touch(unit, found, { embedded: true }) };
    });
    return conversationId;
  }

  /**
   * Writes to the conversation, as every purge does before it deletes vectors: one that comes after this finds those that were
   * written before it. @returns whether none came before: the message is there
   */
  private settleAfterPurges(conversationId: string, messageId: string, options: CallOptions): Promise<boolean> {
    return this.decideOn<boolean>('upsertMessageVectors', conversationId, options, async (unit, find) => {
      // The conversation first: what is read of the message after it was not purged before it.
      const owner = await find();
      const message = await unit.find(MESSAGES, messageId);
      if (owner === undefined || message?.value.conversationId !== conversationId) return { result: false };
      return { result: true, conversation: this.touch(unit, owner, {}) };
    });
  }

  /** @param whole with components and metadata; else only the ids are of use */
  private async selected(
    selection: VectorSelection,
    whole: boolean,
    options: CallOptions,
  ): Promise<readonly FetchedRecord[]> {
    const { conversationId, messageId, messageIds, vectorKeys, provider } = SELECTION(selection, 'selection');
    if ([conversationId, messageId, messageIds, vectorKeys].every((part) => part === undefined))
      throw invalid('selection', selection, 'at least one of conversationId, messageId, messageIds, vectorKeys');
    if (messageIds?.length === 0 || vectorKeys?.length === 0) return [];
    const conditions: VectorConditions[] = [
      ...(conversationId === undefined ? [] : [{ conversationId }]),
      ...(messageId === undefined ? [] : [{ messageId }]),
      ...(messageIds === undefined ? [] : [{ messageId: { $in: messageIds } }]),
      ...(vectorKeys === undefined ? [] : [{ vectorKey: { $in: vectorKeys } }]),
      ...(provider === undefined ? [] : [{ provider }]),
    ];
    const { host } = this;
    const found: FetchedRecord[] = [];
    await orNone(undefined, async () => {
      const listed = host.vectors().each(host.settings.conversations.vectors, {
        ...this.call(options),
        filter: { $and: conditions },
        include: { vector: whole, metadata: whole, text: false },
        limit: 1_000,
      });
      for await (const record of listed) found.push(record);
    });
    return found;
  }
}

function prepare(given: ReturnType<typeof VECTOR>, messageId: string, key: string): Prepared {
  const vector = given.embedding ?? given.values;
  if (vector === undefined) throw invalid(`${key}.embedding`, undefined, 'finite numbers, at least one');
  const { provider, modelVersion } = given;
  const model = given.model ?? given.embeddingModel;
  const made = `${messageId}:${provider ?? 'conversation'}:${model ?? 'default'}:${modelVersion ?? 'v0'}`;
  const vectorKey = given.vectorKey ?? given.id ?? made;
  const checksum = given.checksum ?? checksumOf(vector);
  const own = defined({
    provider,
    model,
    embeddingModel: model,
    modelVersion,
    embeddingModelVersion: modelVersion,
    checksum: given.checksum,
    embeddingChecksum: given.checksum,
    dimensions: vector.length,
    messageId,
    vectorKey,
  });
  checkSaid(given.metadata, { ...own, createdAt: undefined }, key);
  const metadata = { checksum, embeddingChecksum: checksum, ...given.metadata, ...own };
  // Before the conversation is marked: with what is filled in later too.
  checkVectorRecord(
    vector,
    { namespace: messageId, ...metadata, conversationId: messageId, createdAt: new Date(0) },
    key,
  );
  return { id: vectorKey, vector, metadata };
}

/** @throws `VALIDATION` for metadata that say something else than the vector does by itself */
function checkSaid(metadata: object, own: Readonly<Record<string, unknown>>, key: string): void {
  const said = metadata as Readonly<Record<string, unknown>>;
  for (const [name, value] of Object.entries(own))
    if (Object.hasOwn(said, name) && said[name] !== value)
      throw invalid(
        `${key}.metadata.${name}`,
        said[name],
        value === undefined
          ? 'none: it is the time of the first write'
          : `what the vector says: ${JSON.stringify(value)}`,
      );
}

function checksumOf(vector: readonly number[]): string {
  const bytes = Buffer.alloc(vector.length * 8);
  vector.forEach((component, i) => bytes.writeDoubleBE(component, i * 8));
  return createHash('sha1').update(bytes).digest('hex');
}

function rowOf({ id, vector, metadata = {} }: FetchedRecord): MessageVector {
  const { createdAt, ...rest } = metadata;
  const [conversationId, messageId] = [rest['conversationId'] as string, rest['messageId'] as string];
  return { vectorKey: id, conversationId, messageId, embedding: vector!, metadata: rest, createdAt: createdAt as Date };
}
