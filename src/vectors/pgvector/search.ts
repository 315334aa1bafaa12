/** How a search is run: the settings of its scan, the index's answer, and the exact one where that fell short. */
import type { OperationContext } from '../../component.js';
import type { SqlPool } from '../../pools/pool.js';
import { SessionQueue } from '../../pools/session-queue.js';
import type { ScoredVector, VectorIndex, VectorSchema, VectorScope, VectorSearch } from '../provider.js';
import { readRow, type Statement } from './rows.js';
import { exactStatement, indexedStatement } from './statements.js';
import { scoreOfDistance } from './table.js';

type Setting = readonly [name: string, value: string];

/** Without iterative scans a filtered search returns what few of its rows the scan met, without an error. */
export function scanSettings(index: VectorIndex, topK: number, efSearch: number): readonly Setting[] {
  switch (index.kind) {
    case 'hnsw':
      return [
        ['hnsw.iterative_scan', 'relaxed_order'],
        ['hnsw.ef_search', String(Math.min(1_000, Math.max(efSearch, topK)))],
      ];
    case 'ivfflat':
      return [
        ['ivfflat.iterative_scan', 'relaxed_order'],
        ['ivfflat.probes', String(index.probes ?? 10)],
      ];
    case 'none':
      return [];
  }
}

export class Searcher {
  /** Searches of one session follow one another: each sets the scan's settings and restores them. */
  private readonly turns = new SessionQueue();

  constructor(
    private readonly pool: SqlPool,
    private readonly efSearch: number,
  ) {}

  async search(
    schema: VectorSchema,
    scope: VectorScope,
    request: VectorSearch,
    context: OperationContext,
  ): Promise<ScoredVector[]> {
    const settings = scanSettings(schema.index, request.topK, this.efSearch);
    const exact = (): Promise<ScoredVector[]> =>
      this.read(exactStatement(schema, scope, request), schema, request, context);
    if (request.exact || settings.length === 0) return exact();
    const indexed = indexedStatement(schema, scope, request);
    const found = await this.withSettings(settings, context, (inside) => this.read(indexed, schema, request, inside));
    // A scan gives up before it has met every row of a rare tenant or filter.
    return found.length < request.topK ? exact() : found;
  }

  private async read(
    { text, parameters }: Statement,
    { metric }: VectorSchema,
    { include }: VectorSearch,
    context: OperationContext,
  ): Promise<ScoredVector[]> {
    // Never a named statement: after five runs its plan would no longer see the tenant and the filter.
    const { rows } = await this.pool.query(text, parameters.values, context);
    return rows.map((row) => ({
      ...readRow(row, include),
      score: scoreOfDistance(metric, Number(row['distance'])),
    }));
  }

  private withSettings<R>(
    settings: readonly Setting[],
    context: OperationContext,
    work: (inside: OperationContext) => Promise<R>,
  ): Promise<R> {
    const { session } = context;
    if (session !== undefined)
      return this.turns.run(session, async () => {
        const before = await this.set(settings, context);
        const result = await work(context);
        await this.set(before, context);
        return result;
      });
    return this.pool.transaction({ isolation: 'snapshot', context }, async (own) => {
      const inside = { ...context, session: own };
      // Literals of ours: the names are fixed, the values are words and numbers.
      await this.pool.script(settings.map(([name, value]) => `SET LOCAL ${name} = ${value}`).join('; '), inside);
      return work(inside);
    });
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
