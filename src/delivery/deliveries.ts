/**
 * `tx.deliver`: what a transaction does to other databases and to vector services. It is left in the outbox of the
 * transaction's own database, and done once after the commit: what is read before that is as it was.
 */
import type { StoreHost } from '../adapters/host.js';
import type { StoreName } from '../adapters/settings.js';
import type { CollectionDefinition } from '../collection/definition.js';
import type { CollectionHost } from '../collection/host.js';
import type { Leave } from './message.js';
import { DeliveredCollection } from './records.js';
import { deliveredStore, type DeliveredStore } from './stores.js';
import { DeliveredVectors, type OutsideVectors } from './vectors.js';

/** What lies outside of the transaction. */
export interface DeliveryHost extends Leave {
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
   * A collection on another database. @throws `VALIDATION` where that is the transaction's own; `UNSUPPORTED` where it has no
   * atomic batches, and for ids that the database numbers.
   */
  collection<T, In = T>(
    definition: CollectionDefinition<T, In, string>,
    options: { readonly on: string },
  ): DeliveredCollection<T, In> {
    return new DeliveredCollection(definition, this.host.records(definition, options.on), options.on, this.host);
  }

  /** A vector provider; without a name the settings' default. @throws `VALIDATION` where it is the transaction's own */
  vectors(name?: string): DeliveredVectors {
    return new DeliveredVectors(this.host.vectors(name), this.host);
  }

  private store<N extends StoreName>(name: N): DeliveredStore<N> {
    return deliveredStore(name, this.host.storeHost(name), this.host);
  }
}
