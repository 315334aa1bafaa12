/** What a store is made of: its collections, and how its events are called. */
import type { CollectionDefinition } from '../collection/definition.js';
import { uuid, type Reader } from './arguments.js';
import { defineEvents, type EventValue } from './events.js';
import type { StoreName } from './settings.js';

export interface StoreDefinition {
  readonly name: StoreName;
  /** The events' types begin with it: `task` gives `task.created`. */
  readonly prefix: string;
  readonly collections: readonly Pick<CollectionDefinition<unknown>, 'schema'>[];
  readonly events: CollectionDefinition<EventValue>;
  /** Whether its decisions have events: only then are they written with the outbox. */
  readonly tells: boolean;
  /** Of what its events are of: gives the id as it is stored. */
  readonly aggregateId: Reader<string>;
}

export interface StoreOptions extends Partial<Pick<StoreDefinition, 'tells' | 'aggregateId'>> {
  /** Of its events, beside the one by which those of an aggregate are listed. */
  readonly eventIndexes?: Parameters<typeof defineEvents>[1];
}

/** @param collections every collection of the store, but those of its events. */
export function defineStore(
  name: StoreName,
  prefix: string,
  collections: StoreDefinition['collections'],
  { tells = true, aggregateId = uuid, eventIndexes }: StoreOptions = {},
): StoreDefinition {
  const events = defineEvents(`qm_${prefix}_events`, eventIndexes);
  return { name, prefix, collections, events, tells, aggregateId };
}
