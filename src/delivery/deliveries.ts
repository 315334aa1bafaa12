/**
 * `tx.deliver`: what a transaction does to other databases and to vector services. It is left in the outbox of the
 * transaction's own database, and done once after the commit: what is read before that is as it was. What lives in that database
 * is done with the transaction, so that it can move from one to the other while the code stays as it is.
 */
import type { StoreHost } from '../adapters/host.js';
import type { StoreName } from '../adapters/settings.js';
import type { CollectionDefinition, IdKind } from '../collection/definition.js';
import type { CollectionHost } from '../collection/host.js';
import type { Pool } from '../pools/pool.js';
import type { Leave } from './message.js';
import { DeliveredCollection } from './records.js';
import { deliveredStore, type DeliveredStore, type Stores } from './stores.js';
import { DeliveredVectors, type OutsideVectors } from './vectors.js';

/** Where things live, and the transaction's own handles of what lives with it. */
export interface DeliveryHost extends Leave {
  /** Whether the transaction itself can write there. */
  isOwn(pool: Pool): boolean;
  readonly own: Stores;
  ownRecords<T, In>(definition: CollectionDefinition<T, In, string>, on: string): CollectionHost;
  storeHost(name: StoreName): StoreHost;
  records<T, In>(definition: CollectionDefinition<T, In, string>, on: string | undefined): CollectionHost;
  vectors(name: string | undefined): OutsideVectors;
}

export class Deliveries {
  constructor(private readonly host: DeliveryHost) {}

  get agents(): DeliveredStore<'agents'> {
    return this.store('agents');
  }

  get conversations(): DeliveredStore<'conversations'> {
    return this.store('conversations');
  }

  get jobs(): DeliveredStore<'jobs'> {
    return this.store('jobs');
  }

  get kv(): DeliveredStore<'kv'> {
    return this.store('kv');
  }

  get tasks(): DeliveredStore<'tasks'> {
    return this.store('tasks');
  }

  /**
   * A collection of a database by its name. @throws `UNSUPPORTED` where it has no atomic batches, and for ids that the database
   * numbers
   */
  collection<T, In = T, I extends IdKind = IdKind>(
    definition: CollectionDefinition<T, In, string, I>,
    options: { readonly on: string },
  ): DeliveredCollection<T, In, I> {
    const { on } = options;
    const records = this.host.records(definition, on);
    const own = this.host.isOwn(records.backend.pool) ? this.host.ownRecords(definition, on) : undefined;
    return new DeliveredCollection(definition, records, on, this.host, own);
  }

  /** A vector provider; without a name the settings' default. */
  vectors(name?: string): DeliveredVectors {
    return new DeliveredVectors(this.host.vectors(name), this.host);
  }

  private store<N extends StoreName>(name: N): DeliveredStore<N> {
    const host = this.host.storeHost(name);
    return deliveredStore(name, host, this.host, this.host.isOwn(host.backend.pool) ? this.host.own[name] : undefined);
  }
}
