/**
 * One decision of a store: what it reads, and the writes it makes of that, which are one atomic batch. Every write of what
 * was read is conditional on the version read, so that the batch proves, when it is written, that the decision still holds.
 */
import type { JsonObject, RecordBackend, Write, WriteResult } from '../backends/backend.js';
import { encodeValue, jsonBytes, toJson, type Encoded } from '../backends/value.js';
import type { CollectionDefinition } from '../collection/definition.js';
import type { CollectionHost } from '../collection/host.js';
import { makeUuid } from '../collection/ids.js';
import type { Patch } from '../collection/options.js';
import { rangesAfter } from '../collection/page.js';
import { RecordCodec, type StoredRecord } from '../collection/record-codec.js';
import type { OperationContext } from '../component.js';
import { ConflictError, invalid, type StorageError } from '../errors.js';
import { parseSort } from '../filter/cursor.js';
import { normalize } from '../filter/normalize.js';
import { parseFilter, type Filter } from '../filter/syntax.js';
import { digest } from '../collection/digest.js';
import { DELIVERED, DELIVERED_FOR } from '../unit-of-work/delivered.js';
import { IDEMPOTENCY, REMEMBERED_FOR } from './idempotency.js';
import { Batch, patchTo, type Pending } from './batch.js';
import { EVENTS_PER_WRITE, type Actor, type EventValue, type StoreEvent } from './events.js';
import type { Insertion, PatchConditions, Patched, Replacement, Size, UnitQuery } from './unit-options.js';

type Aggregate = Pick<StoredRecord<unknown>, 'id' | 'version'>;

export class Unit {
  readonly events: StoreEvent[] = [];
  /** Whether the operation goes on with another decision: then its delivery is not done with this one. */
  isPart = false;
  private readonly eventCounts = new Map<string, number>();
  /** Made here: no record has them. */
  private readonly newIds = new Set<string>();
  private readonly batch: Batch;
  private readonly backend: RecordBackend;

  constructor(
    private readonly host: Pick<CollectionHost, 'backend' | 'tenant'>,
    readonly context: OperationContext,
    /** The store's; its events' types begin with `prefix`. */
    private readonly eventsOf: CollectionDefinition<EventValue>,
    private readonly prefix: string,
    /** Whether none of its writes has been refused yet: what is likely may stand for what would have to be read. */
    readonly isFirstTry = true,
  ) {
    this.backend = host.backend;
    this.batch = new Batch(host.backend);
  }

  get tenant(): string {
    return this.host.tenant;
  }

  get now(): Date {
    return this.context.now;
  }

  async find<T>(definition: CollectionDefinition<T>, id: string): Promise<StoredRecord<T> | undefined> {
    return (await this.findMany(definition, [id]))[0];
  }

  /** In the order of the ids, each asked for once. */
  async findMany<T>(
    definition: CollectionDefinition<T>,
    ids: readonly string[],
  ): Promise<(StoredRecord<T> | undefined)[]> {
    if (ids.length === 0) return [];
    const keys = ids.map((id) => ({ collection: definition.schema, id }));
    const found = await this.backend.read({ tenant: this.host.tenant }, keys, this.context);
    const codec = this.codec(definition);
    return found.map((stored) => (stored === undefined ? undefined : codec.decode(stored)));
  }

  /** The first `limit` that match, at most 1,000. */
  async query<T>(
    definition: CollectionDefinition<T>,
    filter: Filter<T>,
    { limit = 1_000, after, ...options }: UnitQuery<NoInfer<T>> = {},
  ): Promise<StoredRecord<T>[]> {
    const { schema, domain } = definition;
    const sort = parseSort(options.sort, domain);
    const request = { collection: schema, filter: normalize(parseFilter(filter, domain)), sort, limit };
    const placed = after === undefined ? request : { ...request, ranges: rangesAfter(sort, after) };
    const found = await this.backend.find({ tenant: this.host.tenant }, placed, this.context);
    const codec = this.codec(definition);
    return found.map((stored) => codec.decode(stored));
  }

  /** How many match; `limit` where it is more. */
  count<T>({ schema, domain }: CollectionDefinition<T>, filter: Filter<T>, limit: number): Promise<number> {
    const request = { collection: schema, filter: normalize(parseFilter(filter, domain)), limit };
    return this.backend.count({ tenant: this.host.tenant }, request, this.context);
  }

  /** As it will be stored. */
  insert<T>(definition: CollectionDefinition<T>, value: NoInfer<T>, options: Insertion = {}): StoredRecord<T> {
    const { now } = this;
    const { id = this.newId(), createdAt, expiresAt } = options;
    const encoded = this.encode(definition, value, options);
    const isNew = this.newIds.has(id) ? ({ isNew: true } as const) : {};
    const write = { collection: definition.schema, kind: 'insert', id, value: encoded.value, ...isNew } as const;
    const created = createdAt === undefined ? write : { createdAt, ...write };
    this.push(definition, expiresAt === undefined ? created : { expiresAt, ...created }, encoded);
    const record = { id, version: 1, createdAt: createdAt ?? now, updatedAt: now, value };
    return expiresAt === undefined ? record : { ...record, expiresAt };
  }

  /** The record that was read, with another value. */
  replace<T>(
    definition: CollectionDefinition<T>,
    record: StoredRecord<NoInfer<T>>,
    value: NoInfer<T>,
    options: Replacement = {},
  ): StoredRecord<T> {
    const { expiresAt = record.expiresAt } = options;
    const encoded = this.encode(definition, value, options, record.value);
    return this.rewrite(definition, record, value, encoded, expiresAt ?? undefined);
  }

  /**
   * As `replace`, of a record as it was read; in a batch that has too many bytes it is written by the members that differ.
   * @param value made of the record's own: what stays is the same in it
   */
  amend<T extends object>(
    definition: CollectionDefinition<T>,
    record: StoredRecord<NoInfer<T>>,
    value: NoInfer<T>,
  ): StoredRecord<T> {
    const encoded = this.encode(definition, value, {}, record.value);
    const smaller = (): Write | undefined => patchTo(definition, record, value, encoded.value);
    return this.rewrite(definition, record, value, encoded, record.expiresAt, smaller);
  }

  private rewrite<T>(
    definition: CollectionDefinition<T>,
    { id, version, createdAt }: StoredRecord<T>,
    value: T,
    encoded: Encoded,
    expiresAt: Date | undefined,
    smaller?: Pending['smaller'],
  ): StoredRecord<T> {
    const same = { ifVersion: version, ifCreatedAt: createdAt };
    const write = { collection: definition.schema, kind: 'replace', id, value: encoded.value, ...same } as const;
    this.push(definition, expiresAt === undefined ? write : { expiresAt, ...write }, { bound: encoded.bound, smaller });
    const next = { id, version: version + 1, createdAt, updatedAt: this.now, value };
    return expiresAt === undefined ? next : { ...next, expiresAt };
  }

  /** Whatever is there or not is replaced: nothing was read. */
  put<T>(definition: CollectionDefinition<T>, id: string, value: T, expiresAt?: Date): Patched<T> {
    const encoded = this.encode(definition, value);
    const write = { collection: definition.schema, kind: 'put', id, value: encoded.value } as const;
    let record: StoredRecord<T> | undefined;
    const done = (result: WriteResult): void => {
      if (result.status !== 'written') return;
      const { version, createdAt } = result;
      const base = { id, version, createdAt, updatedAt: this.now, value };
      record = expiresAt === undefined ? base : { ...base, expiresAt };
    };
    this.push(definition, expiresAt === undefined ? write : { expiresAt, ...write }, { bound: encoded.bound, done });
    return { record: () => record! };
  }

  /** Deletes the record that was read. */
  remove<T>(definition: CollectionDefinition<T>, { id, version, createdAt }: StoredRecord<T>): void {
    const same = { ifVersion: version, ifCreatedAt: createdAt };
    this.push(definition, { collection: definition.schema, kind: 'delete', returns: false, id, ...same });
  }

  /** Changes a record that was not read: a counter. Its condition that fails makes the decision again. */
  patch<T>(
    definition: CollectionDefinition<T>,
    id: string,
    changes: Patch<T>,
    conditions: PatchConditions<T> = {},
  ): Patched<T> {
    const codec = this.codec(definition);
    const { if: filter, ifVersion, orInsert, expiresAt } = conditions;
    const inserted = orInsert === undefined ? undefined : this.encode(definition, orInsert);
    let record: StoredRecord<T> | undefined;
    const encoded = codec.encodePatch(changes);
    const write: Write = {
      collection: definition.schema,
      kind: 'patch',
      id,
      changes: encoded,
      ...(filter === undefined ? {} : { if: normalize(parseFilter(filter, definition.domain)) }),
      ...(ifVersion === undefined ? {} : { ifVersion }),
      ...(inserted === undefined ? {} : { orInsert: inserted.value }),
      ...(expiresAt === undefined ? {} : { expiresAt }),
    };
    const done = (result: WriteResult): void => {
      if (result.status === 'patched') record = codec.decode(result.record);
    };
    const bound = jsonBytes(encoded) + (inserted?.bound ?? 0);
    this.push(definition, write, { bound, done });
    return { record: () => record! };
  }

  /**
   * Something that happened to an aggregate, which is given as this unit leaves it.
   * @param expiresAt until when it is kept; default: for ever
   */
  event(aggregate: Aggregate, type: string, payload: object, actor: Actor = {}, expiresAt?: Date): StoreEvent {
    const event = this.notice(aggregate, type, payload, actor);
    const { id, tenantId: _tenant, createdAt: _at, ...value } = event;
    if (this.newIds.has(aggregate.id)) this.newIds.add(id);
    this.insert(this.eventsOf, value, { id, expiresAt });
    return event;
  }

  /** As `event`, told and not kept. */
  notice(aggregate: Aggregate, type: string, payload: object, actor: Actor = {}): StoreEvent {
    const place = this.eventCounts.get(aggregate.id) ?? 0;
    if (place >= EVENTS_PER_WRITE) throw invalid('events', this.events, `at most ${EVENTS_PER_WRITE} events at once`);
    const { triggeredById, sessionId } = actor;
    const seq = aggregate.version * EVENTS_PER_WRITE + place;
    const event: StoreEvent = {
      id: `${aggregate.id}:${seq}`,
      aggregateId: aggregate.id,
      seq,
      type: `${this.prefix}.${type}`,
      // As JSON, so that what a listener gets now is what a reader gets later.
      payload: toJson(payload) as JsonObject,
      ...(triggeredById === undefined ? {} : { triggeredById }),
      ...(sessionId === undefined ? {} : { sessionId }),
      tenantId: this.host.tenant,
      // Whoever gets the event may write into it: the records of this write have that of the operation.
      createdAt: new Date(this.now),
    };
    this.eventCounts.set(aggregate.id, place + 1);
    this.events.push(event);
    return event;
  }

  /**
   * What was done under the caller's key before: the id of its result. Otherwise `remember` is to be told it.
   * @throws `CONFLICT` when something else was done under it.
   */
  async once(
    operation: string,
    key: string | undefined,
    content: unknown,
  ): Promise<{ readonly result?: string; readonly remember: (result: string) => void }> {
    if (key === undefined) return { remember: () => undefined };
    const id = digest([operation, key]);
    const hash = digest(content);
    const known = await this.find(IDEMPOTENCY, id);
    const remember = (result: string): void => {
      const expiresAt = new Date(this.now.getTime() + REMEMBERED_FOR);
      this.insert(IDEMPOTENCY, { content: hash, result }, { id, expiresAt });
    };
    if (known === undefined) return { remember };
    if (known.value.content !== hash)
      throw new ConflictError('CONFLICT', `${operation}: the idempotency key was used with other content`, {
        operation,
        details: { reason: 'idempotency' },
      });
    return { result: known.value.result, remember };
  }

  /** Leaves the mark of a delivery, so that it is decided once, also where that changes nothing. */
  mark(delivery: string): void {
    this.insert(DELIVERED, {}, { id: delivery, expiresAt: new Date(this.now.getTime() + DELIVERED_FOR) });
  }

  /** Writes the batch. @returns the error of a condition that failed: nothing is written, and the decision may be made again. */
  commit(operation: string): Promise<StorageError | undefined> {
    return this.batch.write(this.host.tenant, operation, this.context);
  }

  private newId(): string {
    const id = makeUuid(this.now);
    this.newIds.add(id);
    return id;
  }

  private push<T>(
    definition: CollectionDefinition<T>,
    write: Write,
    { bound = 0, smaller, done }: Partial<Pick<Encoded, 'bound'>> & Pick<Partial<Pending>, 'smaller' | 'done'> = {},
  ): void {
    const failure: Pending['failure'] = (result, operation) =>
      this.codec(definition).failure(result, write.id, operation);
    this.batch.push({ write, smaller, failure, done }, bound);
  }

  private codec<T>(definition: CollectionDefinition<T>): RecordCodec<T> {
    return new RecordCodec(definition, this.backend.capabilities.maxRecordBytes);
  }

  private encode<T>(definition: CollectionDefinition<T>, value: T, { room = 0, as }: Size = {}, before?: T): Encoded {
    const most = this.backend.capabilities.maxRecordBytes - room;
    return encodeValue(value, definition.schema, most, as, before as object | undefined);
  }
}
