/**
 * Writes to a vector service, or to vectors on another database: left in the transaction's outbox, made after its commit. To its
 * own, at once.
 */
import { digest } from '../collection/digest.js';
import type { JsonObject } from '../backends/backend.js';
import { invalid } from '../errors.js';
import { isPlainObject } from '../filter/json.js';
import { checkVectorIds } from '../vectors/codec/values.js';
import type { VectorStore } from '../vectors/vector-store.js';
import type { Metadata, NamespaceOptions, VectorRecord } from '../vectors/vector-store/options.js';
import { decodeCall, encodeCall } from './call.js';
import { DONE, topicOf, type Delivery, type Leave } from './message.js';

/** Each record is a message of its own, so that those of one id are delivered in order and others side by side. */
const MOST = 1_000;

/** One record to be written, or the id of one to be deleted. */
export interface DeliveredVector {
  readonly provider: string;
  readonly collection: string;
  /** Empty: the unnamed one. */
  readonly namespace: string;
  /** As a call's argument. */
  readonly record?: JsonObject;
  readonly id?: string;
}

export interface OutsideVectors {
  /** The provider's name in the settings. */
  readonly key: string;
  readonly store: VectorStore;
  /** Whether `store` writes with the transaction, as it lives there. */
  readonly isOwn: boolean;
}

export class DeliveredVectors {
  constructor(
    private readonly outside: OutsideVectors,
    private readonly leave: Leave,
  ) {}

  /**
   * Writes up to 1,000 records; one that is there is replaced whole. They are checked against the collection as it is.
   * @throws `NOT_FOUND` for the collection; `VALIDATION` with the record's index and key
   */
  upsert<M = Metadata>(
    collection: string,
    records: readonly VectorRecord<M>[],
    options: Pick<NamespaceOptions, 'namespace'> = {},
  ): Promise<Delivery[]> {
    return this.leave.during(async () => {
      if (!Array.isArray(records) || records.length > MOST)
        throw invalid('records', records, `an array of at most ${MOST} records`);
      const encoded = encodeCall(records) as JsonObject[];
      const given = decodeCall(encoded) as VectorRecord<M>[];
      const where = asGiven(options);
      const { store, isOwn } = this.outside;
      // What is written at once is checked by that itself; the options are those of what is not.
      await store.check(collection, isOwn ? [] : given, where);
      if (isOwn) {
        await store.upsert(collection, given, where);
        return given.map(() => DONE);
      }
      return this.each(
        collection,
        where,
        encoded.map((record) => ({ id: record['id'] as string, record })),
      );
    });
  }

  /**
   * Deletes up to 1,000 by their ids, whether they are there by then or not.
   * @throws `NOT_FOUND` for the collection; `VALIDATION`
   */
  delete(
    collection: string,
    selection: { readonly ids: readonly string[] },
    options: Pick<NamespaceOptions, 'namespace'> = {},
  ): Promise<Delivery[]> {
    return this.leave.during(async () => {
      const isIds = isPlainObject(selection) && Object.keys(selection).join() === 'ids';
      if (!isIds) throw invalid('selection', selection, '{ ids } alone: a filter would mean whatever matches by then');
      const ids = checkVectorIds(selection.ids);
      if (ids.length > MOST) throw invalid('ids', ids, `at most ${MOST} ids`);
      const where = asGiven(options);
      const { store, isOwn } = this.outside;
      await store.check(collection, [], where);
      if (isOwn) {
        await store.delete(collection, { ids }, where);
        return ids.map(() => DONE);
      }
      return this.each(
        collection,
        where,
        ids.map((id) => ({ id })),
      );
    });
  }

  private async each(
    collection: string,
    { namespace = '' }: Pick<NamespaceOptions, 'namespace'>,
    vectors: readonly { readonly id: string; readonly record?: JsonObject }[],
  ): Promise<Delivery[]> {
    const { key: provider } = this.outside;
    const messages = vectors.map(({ id, ...written }) => ({
      topic: topicOf('vectors'),
      key: digest([provider, collection, namespace, id]),
      payload: { provider, collection, namespace, ...(written.record === undefined ? { id } : written) },
    }));
    return [...(await this.leave.messages(messages))];
  }
}

/** What the caller does to them after the call is none of it. */
function asGiven<O>(options: O): O {
  return isPlainObject(options) ? { ...options } : options;
}
