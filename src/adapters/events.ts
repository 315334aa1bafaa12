/** What happened to an aggregate: kept beside it, told after the commit. */
import type { JsonObject } from '../backends/backend.js';
import { copyJson } from '../backends/value.js';
import { defineOwnCollection, type CollectionDefinition, type TypedCollectionSpec } from '../collection/definition.js';
import { foreignErrorName, isStorageError, StorageError } from '../errors.js';
import { Listeners } from '../listeners.js';
import { DAY } from './retention/days.js';

/** Something that happened, as a listener, a reader and a relay's handler get it. */
export interface StoreEvent<Type extends string = string, Payload = JsonObject> {
  /** Of one tenant: `(tenantId, id)` is unique. */
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

const DELETION_TOLD_FOR = 30 * DAY;

/** Until when it can be read that an aggregate is deleted: the one event of it that stays. It must not say what was in it. */
export function deletionToldUntil(now: Date): Date {
  return new Date(now.getTime() + DELETION_TOLD_FOR);
}

/** The events of a store's aggregates. Their ids are made of the aggregate's and the seq: none is written twice. */
export function defineEvents(
  name: `qm_${string}`,
  indexes: TypedCollectionSpec<EventValue>['indexes'] = [],
): CollectionDefinition<EventValue> {
  return defineOwnCollection<EventValue>({
    name,
    id: 'given',
    fields: { aggregateId: 'string', seq: 'number', type: { type: 'string', maxBytes: 128 } },
    indexes: [{ keys: ['aggregateId', 'seq'] }, ...indexes],
  });
}

type Listener = (event: StoreEvent) => unknown;
type Watcher = (type: string) => void;

/** Tells the listeners of this process what this process has committed. */
export class EventBus {
  private readonly listeners = new Map<string, Listeners<Listener>>();
  /** By what they wait for: an event visits those, of however many there are. */
  private readonly watchers = new Map<string, Set<Watcher>>();

  constructor(private readonly report: (error: StorageError) => void) {}

  /** @param type `*` for every event. Listens until the returned function is called. */
  on(type: string, listener: Listener): () => void {
    let known = this.listeners.get(type);
    if (known === undefined) this.listeners.set(type, (known = new Listeners()));
    return known.add(listener);
  }

  /** Wakes whoever looks by himself. @param of an aggregate's id, of any tenant, or a type. Until the returned function is called. */
  watch(of: string, watcher: Watcher): () => void {
    const known = this.watchers.get(of) ?? new Set();
    this.watchers.set(of, known.add(watcher));
    return () => {
      known.delete(watcher);
      if (known.size === 0 && this.watchers.get(of) === known) this.watchers.delete(of);
    };
  }

  emit(event: StoreEvent): void {
    for (const of of [event.aggregateId, event.type])
      for (const watcher of this.watchers.get(of) ?? []) watcher(event.type);
    for (const type of [event.type, '*'])
      this.listeners.get(type)?.tell(
        (listener) => listener(copyOf(event)),
        (fault) => this.report(asStorageError(fault, event)),
      );
  }
}

/** Each listener has its own: the caller whose operation it was has the event too. */
function copyOf(event: StoreEvent): StoreEvent {
  return { ...event, payload: copyJson(event.payload), createdAt: new Date(event.createdAt) };
}

function asStorageError(error: unknown, { type }: StoreEvent): StorageError {
  if (isStorageError(error)) return error;
  const message = `A listener of the stores' events threw (${foreignErrorName(error)}) at ${type}`;
  return new StorageError('INTERNAL', message, { operation: 'on', details: { type }, cause: error });
}
