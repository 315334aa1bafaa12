/** Writes to many records of a collection at once: by filter, by claim, from a stream. */
import { setImmediate } from 'node:timers/promises';
import type { ClaimRequest, UpdateRequest, Write } from '../backends/backend.js';
import { LIMITS } from '../backends/limits.js';
import { boundsNow, type CallOptions, type OperationContext } from '../component.js';
import { invalid, UnsupportedError } from '../errors.js';
import { parseSort } from '../filter/cursor.js';
import { isPlainObject } from '../filter/json.js';
import { ALL, NOTHING, type Filter, type FilterNode } from '../filter/syntax.js';
import type { CollectionDefinition, IdKind } from './definition.js';
import type { CollectionHost } from './host.js';
import { IdSource } from './ids.js';
import { loadRecords, type LoadItem, type LoadOptions } from './load.js';
import type { LoadReport, LoadTarget } from './load-writer.js';
import { checkOptions, type ClaimOptions, type Patch, type UpdateWhereOptions } from './options.js';
import { checkLimit, deletePage } from './page.js';
import { CollectionReader } from './reader.js';
import { checkDeclared, type StoredRecord } from './record-codec.js';
import { claimDerived, updateDerived } from './update.js';

export abstract class BulkCollection<T, In, F extends string, I extends IdKind> extends CollectionReader<T, F> {
  protected readonly ids: IdSource;

  constructor(definition: CollectionDefinition<T, In, F, I>, host: CollectionHost) {
    checkDeclared(definition, host.backend);
    super(definition, host);
    this.ids = new IdSource(definition, host.backend, this.scope);
  }

  /**
   * Deletes what matches, in batches; gives the number. All is said as `{ all: true }`.
   * @throws `VALIDATION` for a filter that matches everything.
   */
  async deleteWhere(filter: Filter<T> | { readonly all: true }, options: CallOptions = {}): Promise<number> {
    checkOptions(options, 'read');
    const tree = this.parseMany(filter);
    if (tree === NOTHING) return 0;
    return this.run('deleteWhere', options, async (context) => {
      const request = { collection: this.schema, filter: tree, limit: LIMITS.batchItems };
      const { backend, scope } = this;
      for (let deleted = 0; ;) {
        const page = await (backend
          .deleteMany?.(scope, request, context)
          .then((gone) => ({ met: gone, deleted: gone })) ?? deletePage(backend, scope, request, context));
        deleted += page.deleted;
        if (page.met < request.limit) return deleted;
        await setImmediate();
      }
    });
  }

  /**
   * Changes every record that matches, each in one atomic step; gives the number. Records that a change does not fit (an
   * increment of a text) are left as they are and not counted. All is said as `{ all: true }`.
   * @throws `VALIDATION`; `UNSUPPORTED` for a change of what `$text` searches.
   */
  async updateWhere(
    filter: Filter<T> | { readonly all: true },
    changes: Patch<T>,
    options: UpdateWhereOptions = {},
  ): Promise<number> {
    checkOptions(options, 'updateWhere');
    const tree = this.parseMany(filter);
    const encoded = this.encodeChanges(changes);
    this.codec.checkTtl(options.ttl ?? undefined);
    if (tree === NOTHING) return 0;
    return this.run('updateWhere', options, (context) => {
      const request: UpdateRequest = {
        collection: this.schema,
        filter: tree,
        changes: encoded,
        ...this.expiryOf(options.ttl, context),
      };
      const { backend, scope } = this;
      return backend.updateMany?.(scope, request, context) ?? updateDerived(backend, scope, request, context);
    });
  }

  /**
   * Takes up to `limit` records that match, the first by `sort`: changes each in one atomic step and gives them as they are
   * then, in any order. No two claims at once take one record, as long as the changes make it match no more (`{ set: { state: 'taken' } }`).
   * @throws as `updateWhere`.
   */
  async claim(filter: Filter<T>, changes: Patch<T>, options: ClaimOptions<F> = {}): Promise<StoredRecord<T>[]> {
    checkOptions(options, 'claim');
    const tree = this.parse(filter);
    const encoded = this.encodeChanges(changes);
    const sort = parseSort(options.sort, this.domain);
    const limit = checkLimit(options.limit, 1);
    this.codec.checkTtl(options.ttl ?? undefined);
    if (tree === NOTHING) return [];
    return this.run('claim', options, async (context) => {
      const expiry = this.expiryOf(options.ttl, context);
      const request: ClaimRequest = { collection: this.schema, filter: tree, changes: encoded, sort, limit, ...expiry };
      const { backend, scope } = this;
      const claimed = await (backend.claim?.(scope, request, context) ??
        claimDerived(backend, scope, request, context));
      return claimed.map(this.decode);
    });
  }

  /**
   * The fast way in for any number of records: batches of 500, or of 2,500 where the database takes rows in bulk. One or two
   * are written while the next is read, so that the source is read no faster than the database writes. Not atomic: what
   * fails is in the report, the rest is written; loading the same ids again replaces.
   */
  async load(
    items: Iterable<LoadItem<In, I>> | AsyncIterable<LoadItem<In, I>>,
    options: LoadOptions = {},
  ): Promise<LoadReport> {
    checkOptions(options, 'load');
    const { backend, scope, host } = this;
    const target = (): LoadTarget => ({
      clock: host.clock,
      operation: 'load',
      bounds: () => boundsNow(host.begin, 'load', options),
      codec: this.codec,
      schema: this.schema,
      lanes: this.lanes(options),
      atomic: backend.capabilities.batch === 'atomic',
      resolveIds: (given) => this.run('load', options, async (context) => this.ids.resolve(given, context)),
      write: (writes: readonly Write[]) =>
        this.run('load', options, (context) => backend.write(scope, writes, context)),
      bulkLoad:
        backend.bulkLoad === undefined
          ? undefined
          : (writes) => this.run('load', options, (context) => backend.bulkLoad!(scope, writes, context)),
    });
    return this.during('load', () => loadRecords(items, options, target()));
  }

  /** Batches in bulk that may be under way at once: one where their order shows, or where they would wait for each other. */
  private lanes(options: LoadOptions): number {
    const { backend, begin } = this.host;
    const { context, end } = begin('load', options);
    end();
    const { unique, numbered } = this.schema;
    const isApart = context.session === undefined && unique.length === 0 && numbered !== true;
    return isApart && backend.bulkLoad !== undefined && backend.pool.figures().max > 1 ? 2 : 1;
  }

  private encodeChanges(changes: Patch<T>): UpdateRequest['changes'] {
    const encoded = this.codec.encodePatch(changes);
    if (this.codec.touchesText(encoded))
      throw new UnsupportedError(`${this.name}: what $text searches is changed record by record (patch, update)`);
    return encoded;
  }

  private expiryOf(ttl: number | null | undefined, { now }: OperationContext): { readonly expiresAt?: Date | null } {
    if (ttl === undefined) return {};
    return { expiresAt: ttl === null ? null : this.codec.expiry(ttl, now) };
  }

  private parseMany(filter: Filter<T> | { readonly all: true }): FilterNode {
    const everything =
      isPlainObject(filter) && Object.keys(filter).length === 1 && (filter as { all?: unknown }).all === true;
    if (everything) return ALL;
    const tree = this.parse(filter);
    if (tree === ALL) throw invalid('filter', filter, 'a filter that does not match everything (all is { all: true })');
    return tree;
  }
}
