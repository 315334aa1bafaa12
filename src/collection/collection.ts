/** The records of one collection and one tenant: everything a host does with them, derived once over the backend's contract. */
import type { JsonObject, PatchChanges, Write } from '../backends/backend.js';
import { jsonBytes, type Encoded } from '../backends/value.js';
import type { CallOptions, OperationContext } from '../component.js';
import { invalid, UnsupportedError } from '../errors.js';
import { isList, valueAt } from '../filter/json.js';
import type { Path } from '../filter/paths.js';
import { ALL } from '../filter/syntax.js';
import { BulkCollection } from './bulk.js';
import type { CollectionDefinition, IdKind } from './definition.js';
import type { CollectionHost } from './host.js';
import {
  checkOptions,
  type Incrementable,
  type IncrementOptions,
  type Patch,
  type PatchOptions,
  type ReplaceOptions,
  type SaveArguments,
  type SaveManyItem,
  type SaveOptions,
  type VersionOptions,
} from './options.js';
import { checkVersion, type StoredRecord } from './record-codec.js';
import { RecordWriter } from './record-writer.js';
import { encodeItems, type SaveItem } from './save-items.js';

export class Collection<T, In = T, F extends string = Path<T>, I extends IdKind = IdKind> extends BulkCollection<
  T,
  In,
  F,
  I
> {
  private readonly writer: RecordWriter<T>;

  constructor(definition: CollectionDefinition<T, In, F, I>, host: CollectionHost) {
    super(definition, host);
    this.writer = new RecordWriter(host.backend, this.scope, this.schema, this.codec, host.clock);
  }

  /**
   * Inserts, or replaces what is under `id`; with `ifVersion` it replaces that version only.
   * @throws `VALIDATION`; with `ifVersion`: `NOT_FOUND`, `CONFLICT`; `ALREADY_EXISTS` for a unique constraint.
   */
  async save(value: In, ...[options = {}]: SaveArguments<I, SaveOptions & VersionOptions>): Promise<StoredRecord<T>> {
    checkOptions(options, 'save');
    if (checkVersion(options.ifVersion) === undefined) return this.add('save', 'put', value, options);
    if (options.id === undefined) throw invalid('id', undefined, 'the id of the record (ifVersion is given)');
    return this.replaceWith('save', options.id, value, options);
  }

  /** Inserts a new record. @throws `ALREADY_EXISTS` when the id is there, `VALIDATION`. */
  async insert(value: In, ...[options = {}]: SaveArguments<I>): Promise<StoredRecord<T>> {
    checkOptions(options, 'insert');
    return this.add('insert', 'insert', value, options);
  }

  /** Inserts or replaces up to 1,000 records, 8 MiB together: all of them or none. */
  async saveMany(items: readonly SaveManyItem<In, I>[], options: CallOptions = {}): Promise<StoredRecord<T>[]> {
    checkOptions(options, 'read');
    if (!isList(items)) throw invalid('items', items, 'an array');
    const { maxBatchItems } = this.backend.capabilities;
    if (items.length > maxBatchItems)
      throw invalid('items', items, `at most ${maxBatchItems} records, not ${items.length} (load takes any number)`);
    return this.encoded('saveMany', encodeItems(this.codec, items), options, (parts, left) =>
      this.addMany(parts, left),
    );
  }

  /** Replaces the whole value, and the TTL. @throws `NOT_FOUND`, `CONFLICT` when the version is another. */
  async replace(id: string, value: In, options: ReplaceOptions = {}): Promise<StoredRecord<T>> {
    checkOptions(options, 'replace');
    return this.replaceWith('replace', id, value, options);
  }

  /**
   * Reads, applies `change` to a copy and replaces, again from the read when another writer was faster; keeps the TTL.
   * @throws `NOT_FOUND`; `CONFLICT` when the version is another, or (retryable) after 10 tries; what `change` throws.
   */
  async update(
    id: string,
    change: (value: T) => In | Promise<In>,
    options: VersionOptions = {},
  ): Promise<StoredRecord<T>> {
    checkOptions(options, 'update');
    const ifVersion = checkVersion(options.ifVersion);
    const key = this.codec.encodeId(id);
    if (typeof change !== 'function') throw invalid('change', change, 'a function');
    return this.run('update', options, (context) =>
      this.writer.readAndWrite(key, 'update', context, ifVersion, async (stored) => {
        if (stored === undefined) return undefined;
        const { version } = stored;
        if (ifVersion !== undefined && version !== ifVersion)
          throw this.codec.failure({ status: 'conflict', version }, key, 'update')!;
        const changed = (async () => {
          const next: unknown = await change(this.codec.decode(stored).value);
          if (next === undefined) throw invalid('change()', next, 'the value that is to be stored: return it');
          return this.codec.encode(next);
        })();
        const { value } = await this.within(
          changed,
          context,
          'update',
          'The deadline passed before the function had answered',
        );
        return this.writer.replacement(stored, value, stored.expiresAt);
      }),
    );
  }

  /**
   * Changes parts of a value in one atomic step, without reading it. The schema is not run; declared fields are checked.
   * @throws `NOT_FOUND`; `CONFLICT` when the version is another or `if` does not match; `VALIDATION` when a change does
   * not fit the value it meets (an increment of a text).
   */
  async patch(id: string, changes: Patch<T>, options: PatchOptions<T> = {}): Promise<StoredRecord<T>> {
    checkOptions(options, 'patch');
    const encoded = this.codec.encodePatch(changes);
    if (options.orInsert === undefined) return this.patchWith('patch', id, encoded, undefined, options);
    return this.encoded('patch', this.codec.encode(options.orInsert), options, ({ value }, left) =>
      this.patchWith('patch', id, encoded, value, left),
    );
  }

  /**
   * Adds `by` to a number, which counts as 0 when missing; gives the sum. With `orInsert` it is added to that value's
   * number when the record is not there. @throws as `patch`.
   */
  async increment(id: string, path: Incrementable<T>, by = 1, options: IncrementOptions<T> = {}): Promise<number> {
    checkOptions(options, 'increment');
    if (typeof path !== 'string') throw invalid('path', path, 'a dotted path');
    const changes = this.codec.encodePatch({ increment: { [path]: by } });
    const increment = async (orInsert: JsonObject | undefined, left: IncrementOptions<T>): Promise<number> => {
      const { value } = await this.patchWith('increment', id, changes, orInsert, left);
      return valueAt(value, path.split('.')) as number;
    };
    if (options.orInsert === undefined) return increment(undefined, options);
    return this.encoded('increment', this.codec.encode(options.orInsert), options, async ({ value }, left) =>
      increment(this.codec.applyToInsert(value, changes), left),
    );
  }

  /** Gives the deleted record. @throws `NOT_FOUND`, `CONFLICT` when the version is another. */
  async delete(id: string, options: VersionOptions = {}): Promise<StoredRecord<T>> {
    checkOptions(options, 'delete');
    const ifVersion = checkVersion(options.ifVersion);
    const key: Write = { collection: this.schema, id: this.codec.encodeId(id), kind: 'delete' };
    const write: Write = ifVersion === undefined ? key : { ...key, ifVersion };
    return this.run('delete', options, (context) => this.writer.writeOne(write, 'delete', context));
  }

  private async add(
    operation: string,
    kind: 'insert' | 'put',
    value: In,
    options: SaveOptions,
  ): Promise<StoredRecord<T>> {
    const { id: named, ttl } = options;
    const given = named === undefined ? undefined : this.codec.encodeNewId(named);
    this.codec.checkTtl(ttl);
    return this.encoded(operation, this.codec.encode(value), options, (encoded, left) =>
      this.run(operation, left, async (context) => {
        const resolving = this.ids.resolveOne(given, context);
        const id = typeof resolving === 'string' ? resolving : await resolving;
        return this.writer.writeOne(this.newRecord(kind, given, id, encoded, ttl, context), operation, context);
      }),
    );
  }

  private async addMany(items: readonly SaveItem[], options: CallOptions): Promise<StoredRecord<T>[]> {
    const { maxBatchBytes, batch } = this.backend.capabilities;
    if (items.length > 1 && batch !== 'atomic')
      throw new UnsupportedError(`${this.name}: ${this.backend.name} has no atomic batches`);
    const bound = items.reduce((sum, { encoded }) => sum + encoded.bound, 0);
    if (bound > maxBatchBytes && items.reduce((sum, { encoded }) => sum + jsonBytes(encoded.value), 0) > maxBatchBytes)
      throw invalid('items', items, `at most ${maxBatchBytes} bytes of JSON together`);
    const given = items.map(({ id }) => id);
    const named = given.filter((id) => id !== undefined);
    if (new Set(named).size !== named.length) throw invalid('items', items, 'each id once');
    if (items.length === 0) return [];
    return this.run('saveMany', options, async (context) => {
      const ids = await this.ids.resolve(given, context);
      const writes = items.map(({ id, encoded, ttl }, i) => this.newRecord('put', id, ids[i]!, encoded, ttl, context));
      return this.writer.write(writes, 'saveMany', context);
    });
  }

  /** An id of our own making never replaces a record, should it be there against all odds. */
  private newRecord(
    kind: 'insert' | 'put',
    given: string | undefined,
    id: string,
    { value }: Encoded,
    ttl: number | undefined,
    { now }: OperationContext,
  ): Write {
    // A number that a counter gives may be another's, where records came in beside it.
    const isNew = this.schema.numbered !== true;
    const write =
      given === undefined
        ? ({ collection: this.schema, id, kind: 'insert', ...(isNew && { isNew }), value } as const)
        : ({ collection: this.schema, id, kind, value } as const);
    return ttl === undefined ? write : { ...write, expiresAt: this.codec.expiry(ttl, now) };
  }

  private async replaceWith(
    operation: string,
    id: string,
    value: In,
    options: ReplaceOptions,
  ): Promise<StoredRecord<T>> {
    const { ifVersion, ttl } = options;
    const key = this.codec.encodeId(id);
    checkVersion(ifVersion);
    this.codec.checkTtl(ttl);
    return this.encoded(operation, this.codec.encode(value), options, (encoded, left) =>
      this.run(operation, left, (context) => {
        const write: Write = {
          collection: this.schema,
          id: key,
          kind: 'replace',
          value: encoded.value,
          ...(ifVersion === undefined ? {} : { ifVersion }),
          ...(ttl === undefined ? {} : { expiresAt: this.codec.expiry(ttl, context.now) }),
        };
        return this.writer.writeOne(write, operation, context);
      }),
    );
  }

  private async patchWith(
    operation: string,
    id: string,
    changes: PatchChanges,
    orInsert: JsonObject | undefined,
    options: PatchOptions<T>,
  ): Promise<StoredRecord<T>> {
    const { if: filter, ifVersion, ttl } = options;
    const mayInsert = orInsert !== undefined;
    const key = mayInsert ? this.codec.encodeNewId(id) : this.codec.encodeId(id);
    if (checkVersion(ifVersion) !== undefined && mayInsert)
      throw invalid('orInsert', orInsert, 'no orInsert together with ifVersion');
    this.codec.checkTtl(ttl ?? undefined);
    const condition = filter === undefined ? ALL : this.parse(filter);
    return this.run(operation, options, async (context) => {
      if (mayInsert) await this.ids.resolveOne(key, context);
      const expiresAt = ttl === undefined || ttl === null ? ttl : this.codec.expiry(ttl, context.now);
      const write: Write & { kind: 'patch' } = {
        collection: this.schema,
        id: key,
        kind: 'patch',
        changes,
        ...(condition === ALL ? {} : { if: condition }),
        ...(ifVersion === undefined ? {} : { ifVersion }),
        ...(orInsert === undefined ? {} : { orInsert }),
        ...(expiresAt === undefined ? {} : { expiresAt }),
      };
      return this.codec.touchesText(changes)
        ? this.writer.patchByReplacing(write, operation, context)
        : this.writer.writeOne(write, operation, context);
    });
  }
}
