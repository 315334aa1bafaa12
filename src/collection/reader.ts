/** Reading a collection: by id, by query, page by page. */
import { setImmediate } from 'node:timers/promises';
import type { RecordBackend, RecordSchema, Stored, TenantScope } from '../backends/backend.js';
import { LIMITS } from '../backends/limits.js';
import { copyJson } from '../backends/value.js';
import { aborted, within } from '../clock.js';
import { eachStep, runSteps, withTimeLeft, type CallOptions, type OperationContext } from '../component.js';
import { invalid } from '../errors.js';
import { Handle } from '../handle.js';
import { isList } from '../filter/json.js';
import { normalize } from '../filter/normalize.js';
import { ALL, NOTHING, parseFilter, type Filter, type FilterDomain, type FilterNode } from '../filter/syntax.js';
import { COUNTERS } from './counters.js';
import type { CollectionDefinition } from './definition.js';
import { aggregateRows, planAggregate, type AggregateRow, type AggregateSpec } from './aggregate.js';
import { runOperation, type CollectionHost } from './host.js';
import { checkOptions, type Incrementable } from './options.js';
import { fetchPage, planPage, type ListOptions, type Page, type PagePlan } from './page.js';
import { RecordCodec, type StoredRecord } from './record-codec.js';

export abstract class CollectionReader<T, F extends string> extends Handle {
  protected readonly codec: RecordCodec<T>;
  protected readonly decode = (stored: Stored): StoredRecord<T> => this.codec.decode(stored);
  protected readonly backend: RecordBackend;
  protected readonly scope: TenantScope;
  private readonly schemas: readonly RecordSchema[];

  constructor(
    private readonly definition: CollectionDefinition<T, unknown, string>,
    protected readonly host: CollectionHost,
  ) {
    super();
    this.backend = host.backend;
    this.scope = { tenant: host.tenant };
    this.schemas = definition.ids === 'sequence' ? [definition.schema, COUNTERS] : [definition.schema];
    this.codec = new RecordCodec(definition, host.backend.capabilities.maxRecordBytes);
  }

  get name(): string {
    return this.definition.name;
  }

  toJSON(): Record<string, unknown> {
    return { collection: this.name, tenant: this.scope.tenant };
  }

  protected get schema(): RecordSchema {
    return this.definition.schema;
  }

  /** @throws `NotFoundError` when it is not there, has expired, or is another tenant's. */
  async get(id: string, options?: CallOptions): Promise<StoredRecord<T>> {
    checkOptions(options, 'read');
    const key = this.codec.encodeId(id);
    const found = await this.read(key, options);
    if (found[0] === undefined) throw this.codec.missing(key, 'get');
    return this.codec.decode(found[0]);
  }

  /** As `get`, with `undefined` for what is not there. */
  async find(id: string, options?: CallOptions): Promise<StoredRecord<T> | undefined> {
    checkOptions(options, 'read');
    const found = await this.read(this.codec.encodeId(id), options);
    return found[0] === undefined ? undefined : this.codec.decode(found[0]);
  }

  /** Up to 1,000 records in the order of the ids; `undefined` for what is not there. */
  async getMany(ids: readonly string[], options?: CallOptions): Promise<(StoredRecord<T> | undefined)[]> {
    checkOptions(options, 'read');
    if (!isList(ids)) throw invalid('ids', ids, 'an array of ids');
    if (ids.length > LIMITS.batchItems)
      throw invalid('ids', ids, `at most ${LIMITS.batchItems} ids, not ${ids.length}`);
    const encoded = ids.map((id, i) => this.codec.encodeId(id, `ids[${i}]`));
    if (ids.length === 0) return [];
    const keys = [...new Set(encoded)].map((id) => ({ collection: this.schema, id }));
    const found = await this.run('getMany', options, (context) => this.backend.read(this.scope, keys, context));
    const byId = new Map(keys.map((key, i) => [key.id, found[i]]));
    return encoded.map((id) => {
      const stored = byId.get(id);
      return stored === undefined ? undefined : this.codec.decode({ ...stored, value: copyJson(stored.value) });
    });
  }

  async has(id: string, options?: CallOptions): Promise<boolean> {
    return (await this.find(id, options)) !== undefined;
  }

  /** One page of all records. */
  async list(options: ListOptions<F> = {}): Promise<Page<StoredRecord<T>>> {
    checkOptions(options, 'list');
    return this.page(this.plan(ALL, options), options, 'list');
  }

  /** One page of the records that match. @throws `INVALID_FILTER`, `INVALID_CURSOR`, `UNSUPPORTED` for an undeclared sort. */
  async query(filter: Filter<T>, options: ListOptions<F> = {}): Promise<Page<StoredRecord<T>>> {
    checkOptions(options, 'list');
    return this.page(this.plan(this.parse(filter), options), options, 'query');
  }

  /** Every record that matches, a page of 200 in memory at a time. Records that move in the order meanwhile may repeat. */
  async *each(
    filter: Filter<T> = {},
    options: Omit<ListOptions<F>, 'limit' | 'after'> = {},
  ): AsyncGenerator<StoredRecord<T>, void, undefined> {
    checkOptions(options, 'each');
    const tree = this.parse(filter);
    for await (const items of eachStep(this.host.admit, 'each', () => this.pages(tree, options)))
      for (const item of items) {
        if (options.signal?.aborted === true) throw aborted(options.signal, 'each');
        yield item;
      }
  }

  private async *pages(
    tree: FilterNode,
    options: Omit<ListOptions<F>, 'limit' | 'after'>,
  ): AsyncGenerator<readonly StoredRecord<T>[], void, undefined> {
    let page: Page<StoredRecord<T>> | undefined;
    do {
      const after = page?.next;
      // A database in this process waits for nobody, and would let nobody in by itself.
      if (after !== undefined) await setImmediate();
      const plan = this.plan(tree, { ...options, limit: 200, ...(after === undefined ? {} : { after }) });
      page = await this.page(plan, options, 'each');
      yield page.items;
    } while (page.next !== undefined);
  }

  /** How many records match. */
  async count(filter: Filter<T> = {}, options?: CallOptions): Promise<number> {
    checkOptions(options, 'read');
    const tree = this.parse(filter);
    if (tree === NOTHING) return 0;
    return this.run('count', options, (context) =>
      this.backend.count(this.scope, { collection: this.schema, filter: tree }, context),
    );
  }

  /**
   * Counts, and sums up declared numbers, of the records that match: one row for each combination of the values of `by`,
   * in their order. @throws `UNSUPPORTED` for undeclared fields, `VALIDATION` for more than 10,000 rows.
   */
  async aggregate<B extends F = never, N extends F & Incrementable<T> = never>(
    filter: Filter<T>,
    spec: AggregateSpec<B, N> = {},
    options?: CallOptions,
  ): Promise<AggregateRow<T, B, N>[]> {
    checkOptions(options, 'read');
    const plan = planAggregate(spec, this.domain);
    const request = { collection: this.schema, filter: this.parse(filter) };
    if (request.filter === NOTHING) return [];
    const rows = await this.run('aggregate', options, (context) =>
      aggregateRows(this.backend, this.scope, request, plan, context),
    );
    return rows as AggregateRow<T, B, N>[];
  }

  protected get domain(): FilterDomain {
    return this.definition.domain;
  }

  private read(id: string, options: CallOptions | undefined): Promise<(Stored | undefined)[]> {
    const keys = [{ collection: this.schema, id }];
    return this.run('get', options, (context) => this.backend.read(this.scope, keys, context));
  }

  protected run<R>(
    operation: string,
    options: CallOptions | undefined,
    work: (context: OperationContext) => Promise<R>,
  ): Promise<R> {
    return runOperation(this.host, this.schemas, operation, options, work);
  }

  /** For a call that waits before its first operation, or between two. */
  protected during<R>(operation: string, work: () => Promise<R>): Promise<R> {
    const { during, admit } = this.host;
    return during === undefined ? runSteps(admit, operation, work) : during(operation, work);
  }

  /** Goes on with what a schema gives, at once or later: then with options of the time that is left. */
  protected encoded<E, R, O extends CallOptions>(
    operation: string,
    encoding: E | Promise<E>,
    options: O,
    work: (encoded: E, options: O) => Promise<R>,
  ): Promise<R> {
    if (!(encoding instanceof Promise)) return work(encoding, options);
    // Where the call is refused nobody waits for it.
    encoding.catch(() => undefined);
    return this.during(operation, async () => {
      const { context, end } = this.host.begin(operation, options);
      end();
      const late = 'The deadline passed before the schema had answered';
      const encoded = await this.within(encoding, context, operation, late);
      return work(encoded, withTimeLeft(options, context.deadline, this.host.clock));
    });
  }

  /** Waits for code of the host's: what it does goes on, but nobody waits for it beyond the bounds. @throws `ABORTED`, `TIMEOUT` */
  protected within<R>(work: Promise<R>, bounds: OperationContext, operation: string, late: string): Promise<R> {
    return within(work, bounds, this.host.clock, late, { operation });
  }

  protected parse(filter: unknown): FilterNode {
    return normalize(parseFilter(filter, this.domain));
  }

  private plan(filter: FilterNode, options: ListOptions<F>): PagePlan {
    return planPage(this.name, this.scope.tenant, this.domain, filter, options);
  }

  private page(plan: PagePlan, options: CallOptions, operation: string): Promise<Page<StoredRecord<T>>> {
    if (plan.filter === NOTHING) return Promise.resolve({ items: [] });
    return this.run(operation, options, (context) =>
      fetchPage(this.backend, this.schema, this.scope, plan, this.decode, context),
    );
  }
}
