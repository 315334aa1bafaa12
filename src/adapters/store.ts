/** What every domain store has in common: its collections, its decisions, its events. */
import type { RecordSchema } from '../backends/backend.js';
import { sleep } from '../clock.js';
import { Collection } from '../collection/collection.js';
import type { CollectionDefinition } from '../collection/definition.js';
import { runOperation } from '../collection/host.js';
import type { ListOptions } from '../collection/page.js';
import { checkVersion, type StoredRecord } from '../collection/record-codec.js';
import { runSteps, type CallOptions, type OperationContext } from '../component.js';
import {
  ConflictError,
  invalid,
  isSerializationFailure,
  NotFoundError,
  UnsupportedError,
  ValidationError,
  type StorageError,
} from '../errors.js';
import { isPlainObject } from '../filter/json.js';
import type { Filter } from '../filter/syntax.js';
import { Handle } from '../handle.js';
import { DELIVERED } from '../unit-of-work/delivered.js';
import { publish } from '../unit-of-work/subscriptions.js';
import { integer, shape, withDefault } from './arguments.js';
import { exhausted } from './exhausted.js';
import type { EventValue, StoreEvent } from './events.js';
import type { StoreHost } from './host.js';
import { IDEMPOTENCY } from './idempotency.js';
import { CALL_MEMBERS } from './options.js';
import { preparePage, type ListPage, type PageOptions } from './page.js';
import type { StoreDefinition } from './store-definition.js';
import { Unit } from './unit.js';
import { watchEvents, type EventsFrom, type WatchOptions } from './watch-events.js';

export interface ChangeOptions extends CallOptions {
  /** Only when the record has this version: else `CONFLICT`. */
  readonly ifVersion?: number | undefined;
}

interface Envelope {
  readonly id: string;
  readonly tenantId: string;
  /** Starts at 1, grows by 1 with each write. */
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** A record as a store gives it: its value, and what every record has. */
export type Entity<T> = T & Envelope;
/** A value of which no member is taken for one of what every record has. */
type EntityValue = object & { readonly [name in keyof Envelope]?: never };

/** How often a decision is made, at most, where its reads may stay what they are however often: in a transaction, for a delivery. */
const ATTEMPTS = 10;
/** Milliseconds between two tries, at most. */
const LONGEST_PAUSE = 1_000;

const readEventList = shape({
  ...CALL_MEMBERS,
  after: withDefault(integer(0, Number.MAX_SAFE_INTEGER), 0),
  limit: withDefault(integer(1, 1_000), 100),
});

/** Which of the events of an aggregate are listed. */
export type EventList = ReturnType<typeof readEventList>;

export abstract class Store extends Handle {
  readonly #schemas: readonly RecordSchema[];

  constructor(
    protected readonly definition: StoreDefinition,
    protected readonly host: StoreHost,
  ) {
    super();
    const { collections, events, tells } = definition;
    const marks = host.delivery === undefined ? [] : [DELIVERED];
    this.#schemas = [...collections, ...(tells ? [events, IDEMPOTENCY] : []), ...marks].map(({ schema }) => schema);
  }

  toJSON(): Record<string, unknown> {
    return { store: this.definition.name };
  }

  /** The tables of a store. */
  static schemasOf(store: Store): readonly RecordSchema[] {
    return store.#schemas;
  }

  /** The records of one of the store's collections. */
  protected records<T>(definition: CollectionDefinition<T>): Collection<T> {
    return new Collection(definition, this.host);
  }

  /** Admits an operation and makes sure of all of the store's tables at once. */
  protected run<R>(
    operation: string,
    options: CallOptions,
    work: (context: OperationContext) => Promise<R>,
  ): Promise<R> {
    return runOperation(this.host, this.#schemas, this.operationName(operation), callOptions(options), work);
  }

  /** A call of several operations, which a close waits for as for one. */
  protected steps<R>(operation: string, work: () => Promise<R>): Promise<R> {
    return runSteps(this.host.admit, this.operationName(operation), work);
  }

  /** Reads through a unit, and writes nothing. */
  protected reading<R>(operation: string, options: CallOptions, work: (unit: Unit) => Promise<R>): Promise<R> {
    return this.run(operation, options, (context) =>
      work(new Unit(this.host, context, this.definition.events, this.definition.prefix)),
    );
  }

  /**
   * Makes a decision and writes it as one atomic batch; makes it again, from its reads, when what it stands on has changed
   * meanwhile, until the operation's deadline: whenever it loses, another has won. Its events are told after the commit. What
   * `plan` does beside the unit goes by the host that it gets, which is that of the transaction where there is one.
   * @throws `CONFLICT` (retryable) when there is no time for one more try, in a transaction after 10; what `plan` throws.
   */
  protected async decide<R>(
    operation: string,
    options: CallOptions,
    plan: (unit: Unit, host: StoreHost) => Promise<R>,
  ): Promise<R> {
    const { host } = this;
    // With the outbox, the events are written by the transaction that they tell of.
    const isApart = this.definition.tells && host.settings.events.outbox && host.outbox === undefined;
    const inTransaction = (inside: StoreHost): Promise<R> => this.at(inside).decide(operation, options, plan);
    const canBegin = host.backend.capabilities.transactions !== 'none';
    if (isApart && canBegin) return host.transaction(callOptions(options), inTransaction);
    return this.run(operation, options, async (context) => {
      const most = context.session === undefined && host.delivery === undefined ? Infinity : ATTEMPTS;
      for (let attempt = 1; ; attempt++) {
        const at = attempt === 1 ? context : { ...context, now: host.clock.now() };
        const unit = new Unit(host, at, this.definition.events, this.definition.prefix, attempt === 1);
        const result = await plan(unit, host);
        // Where there are no transactions, what tells nothing needs none, and the rest is refused before it writes.
        if (isApart && unit.events.length > 0) throw untellable(host, this.operationName(operation));
        if (host.delivery !== undefined && !unit.isPart) unit.mark(host.delivery);
        const failure = await unit.commit(this.operationName(operation)).catch((error: unknown) => {
          // A deadlock undid the batch. In a transaction it undid that too, which is run again as a whole.
          if (isSerializationFailure(error) && context.session === undefined) return error as StorageError;
          throw error;
        });
        if (failure === undefined) {
          await this.tell(unit.events);
          return result;
        }
        const isOver = (pause: number): boolean => host.clock.monotonic() + pause >= context.deadline;
        const pause = Math.random() * Math.min(2 ** attempt, LONGEST_PAUSE);
        const isLast = attempt >= most || isOver(pause);
        if (!isLast) await sleep(host.clock, pause, context.signal);
        // A timer may be late.
        if (isLast || isOver(0)) throw exhausted(failure.message, attempt, this.operationName(operation));
      }
    });
  }

  /** The same store on another host: inside a transaction. */
  protected at(host: StoreHost): this {
    const Same = this.constructor as new (host: StoreHost) => Store;
    return new Same(host) as this;
  }

  /** @throws `VALIDATION` unless the store belongs to the manager itself. */
  protected requireAll(operation: string): void {
    if (!this.host.forAll)
      throw new ValidationError(
        'VALIDATION',
        `${this.operationName(operation)} works for every tenant: call it on the manager's own store, not on a tenant's`,
      );
  }

  /**
   * One page of an aggregate's events, the oldest first; without gaps: an event that is not there yet has a greater `seq`
   * than every one that is. @param after the `seq` of the last event known
   */
  async listEvents(
    aggregateId: string,
    options: CallOptions & { readonly after?: number | undefined; readonly limit?: number | undefined } = {},
  ): Promise<StoreEvent[]> {
    const operation = this.operationName('listEvents');
    if (!this.definition.tells) throw new UnsupportedError(`${this.definition.name} has no events`, { operation });
    const id = this.definition.aggregateId(aggregateId, 'aggregateId');
    return this.findEvents(id, readEventList(options, 'options'));
  }

  protected findEvents(aggregateId: string, { after, limit, ...call }: EventList): Promise<StoreEvent[]> {
    return this.reading('listEvents', call, async (unit) => {
      const filter = { aggregateId, seq: { $gt: after } };
      const sort = { aggregateId: 'asc', seq: 'asc' } as const;
      const found = await unit.query(this.definition.events, filter, { sort, limit });
      return found.map((record) => this.eventOf(record));
    });
  }

  /**
   * Every event of an aggregate after `after`, and each new one when it is there, until the loop ends or `signal` aborts.
   * New ones of this process are told at once, those of others are looked for every `interval` milliseconds (default 1,000).
   */
  watchEvents(aggregateId: string, options: WatchOptions = {}): AsyncGenerator<StoreEvent, void, undefined> {
    const list = (id: string, from: EventsFrom): Promise<StoreEvent[]> =>
      this.listEvents(id, { ...from, limit: 1_000 });
    return watchEvents(this.host, () => this.definition.aggregateId(aggregateId, 'aggregateId'), list, options);
  }

  protected entity<T extends EntityValue>({ id, version, createdAt, updatedAt, value }: StoredRecord<T>): Entity<T> {
    // What is new before what is spread: added after it, each member takes the engine a microsecond.
    return { id, tenantId: this.host.tenant, version, createdAt, updatedAt, ...value };
  }

  protected missing(what: string, id: string, operation: string): NotFoundError {
    return new NotFoundError(`${what} ${JSON.stringify(id)} is not there`, {
      component: this.definition.name,
      operation: this.operationName(operation),
      details: { id },
    });
  }

  /** What was made under an idempotency key is gone: the key stands for that, and makes nothing else. */
  protected forgotten(what: string, id: string, operation: string): NotFoundError {
    const message = `${what} ${JSON.stringify(id)} was made under this idempotency key, and is not there any more`;
    return new NotFoundError(message, {
      component: this.definition.name,
      operation: this.operationName(operation),
      details: { id, reason: 'idempotency' },
    });
  }

  /** One page of a collection of the store, as entities. @throws `INVALID_CURSOR`, `VALIDATION` */
  protected async page<T extends EntityValue>(
    definition: CollectionDefinition<T>,
    filter: Filter<T>,
    sort: ListOptions<string>['sort'],
    options: PageOptions,
  ): Promise<ListPage<Entity<T>>> {
    const fetch = preparePage(this.host, definition, filter, sort, options, (record) => this.entity(record));
    return this.run('list', options, fetch);
  }

  private async tell(events: readonly StoreEvent[]): Promise<void> {
    if (events.length === 0) return;
    const { host } = this;
    const plain = (event: StoreEvent) => ({ ...event, createdAt: event.createdAt.toISOString() });
    if (host.settings.events.outbox) await publish(host, host.outbox!, events.map(plain));
    host.onCommit(() => {
      for (const event of events) host.events.emit(event);
    });
  }

  protected eventOf({ id, createdAt, value }: StoredRecord<EventValue>): StoreEvent {
    return { id, ...value, tenantId: this.host.tenant, createdAt };
  }

  protected operationName(operation: string): string {
    return `${this.definition.name}.${operation}`;
  }
}

/** @throws `CONFLICT` when the caller meant another version. */
export function checkIfVersion(
  record: StoredRecord<unknown>,
  what: string,
  ifVersion: number | undefined,
  name = record.id,
): void {
  const asked = checkVersion(ifVersion);
  if (asked === undefined || asked === record.version) return;
  throw new ConflictError('CONFLICT', `${what} ${JSON.stringify(name)} has version ${record.version} by now`, {
    details: { id: record.id, reason: 'version', version: record.version },
  });
}

/** What the options say of the call itself. @throws `VALIDATION` for what are no options */
export function callOptions(options: CallOptions): CallOptions {
  if (!isPlainObject(options)) throw invalid('options', options, 'an object');
  const { signal, timeout } = options as CallOptions;
  return { ...(signal === undefined ? {} : { signal }), ...(timeout === undefined ? {} : { timeout }) };
}

function untellable({ backend }: StoreHost, operation: string): UnsupportedError {
  const message = `${operation}: with the outbox its events are written in a transaction, and ${backend.name} has none`;
  return new UnsupportedError(message, { operation });
}
