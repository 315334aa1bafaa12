/** How a search is run: the settings of its scan, the index's answer, and the exact one where that fell short. */
import type { OperationContext } from '../../component.js';
import type { QueryOptions, Setting, PostgresDialectPool } from '../../pools/pool.js';
import { alone } from '../../pools/turn-queue.js';
import { DEFAULT_TENANT } from '../codec/scope.js';
import type { ScoredVector, SearchExplanation, VectorSchema, VectorScope, VectorSearch } from '../provider.js';
import { candidates, precisionOf } from './precision.js';
import { readRow, type Statement } from './rows.js';
import { exactStatement, indexedStatement } from './statements.js';
import { indexName, scoreOfDistance } from './table.js';

/** How an index is scanned. */
interface Scan {
  /** In force while the statement is planned, and while it runs where `efSearch` says nothing else. */
  readonly settings: readonly Setting[];
  /** What `hnsw.ef_search` is while the statement runs. */
  readonly efSearch?: number;
}

/** The server's upper limit of `hnsw.ef_search`. */
const MAX_EF_SEARCH = 1_000;

/**
 * With these the planner chooses between the index and comparing all that a tenant and a filter leave. Of a scan it counts the
 * first batch of `ef_search` alone, while one that begins elsewhere than they lie goes on and on; and it takes scattered rows to be
 * on a disk, when those of a search are in memory or it is slow anyway. So some thousand rows are compared, of a small
 * table and of a large one, and more are scanned: `bench:vectors -- recall` measures it.
 */
const PART_OF_TABLE: readonly Setting[] = [
  ['hnsw.ef_search', String(MAX_EF_SEARCH)],
  ['seq_page_cost', '0.4'],
  ['random_page_cost', '0.4'],
];

/** Without iterative scans a filtered search returns what few of its rows the scan met, without an error. */
function scanOf({ index }: VectorSchema, isPart: boolean, rows: number, efSearch: number): Scan {
  switch (index.kind) {
    case 'hnsw': {
      const batch = Math.min(MAX_EF_SEARCH, Math.max(efSearch, rows));
      const iterative: Setting = ['hnsw.iterative_scan', 'relaxed_order'];
      if (isPart) return { settings: [iterative, ...PART_OF_TABLE], efSearch: batch };
      return { settings: [iterative, ['hnsw.ef_search', String(batch)]] };
    }
    case 'ivfflat':
      return {
        settings: [
          ['ivfflat.iterative_scan', 'relaxed_order'],
          ['ivfflat.probes', String(index.probes ?? 10)],
        ],
      };
    case 'none':
      return { settings: [] };
  }
}

interface IndexedSearch extends Statement {
  readonly settings: readonly Setting[];
  /** The rows that the index is asked for. */
  readonly wanted: number;
}

export class Searcher {
  constructor(
    private readonly pool: PostgresDialectPool,
    private readonly efSearch: number,
  ) {}

  async search(
    schema: VectorSchema,
    scope: VectorScope,
    request: VectorSearch,
    context: OperationContext,
  ): Promise<ScoredVector[]> {
    const indexed = this.indexed(schema, scope, request);
    if (indexed !== undefined) {
      const { hits, isShort } = await this.readIndexed(indexed, schema, request, context);
      if (!isShort) return hits;
    }
    const exact = exactStatement(schema, scope, request, this.pool.binary);
    return (await this.read(exact, schema, request, context)).hits;
  }

  /** Runs the search, and gives the server's plans with what they took. */
  async explain(
    schema: VectorSchema,
    scope: VectorScope,
    request: VectorSearch,
    context: OperationContext,
  ): Promise<SearchExplanation> {
    const indexed = this.indexed(schema, scope, request);
    const exact = exactStatement(schema, scope, request, this.pool.binary);
    if (indexed === undefined) return { scan: 'exact', completed: false, plan: await this.planOf(exact, context) };
    const plan = await this.planOf(indexed, context);
    const { isShort: completed } = await this.readIndexed(indexed, schema, request, context);
    return {
      // The planner may take a filter's index instead, and compare what it gives.
      scan: plan.includes(indexName(schema)) ? 'index' : 'exact',
      completed,
      plan: completed ? `${plan}\n\n${await this.planOf(exact, context)}` : plan,
    };
  }

  private indexed(schema: VectorSchema, scope: VectorScope, request: VectorSearch): IndexedSearch | undefined {
    const precision = precisionOf(schema);
    if (request.exact || precision === 'none') return undefined;
    const isPart = request.filter !== undefined || scope.tenant !== DEFAULT_TENANT || scope.namespace !== '';
    const wanted = candidates(precision, request.topK);
    const { settings, efSearch } = scanOf(schema, isPart, wanted, this.efSearch);
    return { ...indexedStatement(schema, scope, request, precision, this.pool.binary, efSearch), settings, wanted };
  }

  private async planOf({ text, parameters, settings }: Partial<IndexedSearch> & Statement, context: OperationContext) {
    const explain = async (on: OperationContext, options?: QueryOptions): Promise<string> => {
      const { rows } = await this.pool.query(`EXPLAIN (ANALYZE, TIMING OFF) ${text}`, parameters.values, on, options);
      return rows.map((row) => String(row['QUERY PLAN'])).join('\n');
    };
    return settings === undefined ? explain(context) : this.withSettings(settings, context, explain);
  }

  /** A scan is short that gives up before it has met as many rows of a rare tenant or filter as it was asked for. */
  private async readIndexed(
    statement: IndexedSearch,
    schema: VectorSchema,
    request: VectorSearch,
    context: OperationContext,
  ): Promise<{ hits: ScoredVector[]; isShort: boolean }> {
    const { hits, met } = await this.withSettings(statement.settings, context, (on, options) =>
      this.read(statement, schema, request, on, options),
    );
    return { hits, isShort: met < statement.wanted };
  }

  /** @param work runs one statement, with the context and the options that it is given. */
  private withSettings<R>(
    settings: readonly Setting[],
    context: OperationContext,
    work: (context: OperationContext, options?: QueryOptions) => Promise<R>,
  ): Promise<R> {
    if (context.session === undefined) return work(context, { settings });
    return alone(context, async (on) => {
      const before = await this.set(settings, on);
      const result = await work(on);
      await this.set(before, on);
      return result;
    });
  }

  private async read(
    { text, parameters }: Statement,
    { metric }: VectorSchema,
    { include }: VectorSearch,
    context: OperationContext,
    options?: QueryOptions,
  ): Promise<{ hits: ScoredVector[]; met: number }> {
    // Never a named statement: after five runs its plan would no longer see the tenant and the filter.
    const { rows } = await this.pool.query(text, parameters.values, context, options);
    const hits = rows.map((row) => ({
      ...readRow(row, include),
      score: scoreOfDistance(metric, Number(row['distance'])),
    }));
    return { hits, met: Number(rows[0]?.['met'] ?? rows.length) };
  }

  /** Until the end of the transaction; gives the settings as they were. */
  private async set(settings: readonly Setting[], context: OperationContext): Promise<Setting[]> {
    // Reading a vector's literal loads the library: before that its settings have neither defaults nor checks.
    const read = settings.map(([name], i) => `current_setting('${name}') AS "s${i}"`);
    const { rows } = await this.pool.query(`SELECT '[1]'::vector IS NULL, ${read.join(', ')}`, [], context);
    const write = settings.map((_, i) => `set_config($${2 * i + 1}::text, $${2 * i + 2}::text, true)`);
    await this.pool.query(`SELECT ${write.join(', ')}`, settings.flat(), context);
    return settings.map(([name], i): Setting => [name, String(rows[0]?.[`s${i}`])]);
  }
}
