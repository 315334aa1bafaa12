/** What happened to an aggregate: kept beside it, told after the commit. */
import type { JsonObject } from '../backends/backend.js';
import { defineOwnCollection, type CollectionDefinition } from '../collection/definition.js';
import { foreignErrorName, isStorageError, StorageError } from '../errors.js';
import { Listeners } from '../listeners.js';

/** Something that happened, as a listener, a reader and a relay's handler get it. */
export interface StoreEvent<Type extends string = string, Payload = JsonObject> {
  readonly id: string;
  /** Of the aggregate's events, by which they are ordered: its version at that write, times 1,000, and the place in it. */
  readonly seq: number;
  /** `task.created` */
  readonly type: Type;
  readonly tenantId: string;
  readonly aggregateId: string;
  readonly payload: Payload;
  readonly triggeredById?: string;
  readonly sessionId?: string;
  readonly createdAt: Date;
}

/** Who did it, as the caller says. */
export interface Actor {
  readonly triggeredById?: string | undefined;
  readonly sessionId?: string | undefined;
}

export interface EventValue {
  readonly aggregateId: string;
  readonly seq: number;
  readonly type: string;
  readonly payload: JsonObject;
  readonly triggeredById?: string;
  readonly sessionId?: string;
}

/** Events of one write, at most. */
export const EVENTS_PER_WRITE = 1_000;

/** The events of a store's aggregates. Their ids are made of the aggregate's and the seq: none is written twice. */
export function defineEvents(name: `qm_${string}`): CollectionDefinition<EventValue> {
  return defineOwnCollection<EventValue>({
    name,
    id: 'given',
    fields: { aggregateId: 'string', seq: 'number', type: { type: 'string', maxBytes: 128 } },
    indexes: [{ keys: ['aggregateId', 'seq'] }],
  });
}

type Listener = (event: StoreEvent) => unknown;

/** Tells the listeners of this process what this process has committed. */
export class EventBus {
  private readonly listeners = new Map<string, Listeners<Listener>>();

  constructor(private readonly report: (error: StorageError) => void) {}

  /** @param type `*` for every event. Listens until the returned function is called. */
  on(type: string, listener: Listener): () => void {
    let known = this.listeners.get(type);
    if (known === undefined) this.listeners.set(type, (known = new Listeners()));
    return known.add(listener);
  }

  emit(event: StoreEvent): void {
    for (const type of [event.type, '*'])
      this.listeners.get(type)?.tell(
        (listener) => listener(event),
        (fault) => this.report(asStorageError(fault)),
      );
  }
}

function asStorageError(error: unknown): StorageError {
  if (isStorageError(error)) return error;
  const message = `A listener of the stores' events threw (${foreignErrorName(error)})`;
  return new StorageError('INTERNAL', message, { operation: 'on', cause: error });
}
