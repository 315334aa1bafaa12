/** The index of a collection's vectors, built and dropped while others write. */
import { type Clock, sleep } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { TimeoutError, ValidationError } from '../../errors.js';
import type { PostgresDialectPool } from '../../pools/pool.js';
import type { VectorSchema } from '../provider.js';
import { buildFault, LOST_RACES, sqlState } from './fault.js';
import { createIndex, indexName, SCHEMA } from './table.js';

/** How often the build of another process is looked at, in milliseconds. */
const POLL = 250;

type State = 'absent' | 'valid' | 'building' | 'broken';

export class VectorIndexes {
  constructor(
    private readonly pool: PostgresDialectPool,
    private readonly clock: Clock,
    private readonly component: string,
  ) {}

  async build(schema: VectorSchema, context: OperationContext): Promise<void> {
    this.refuseSession('buildIndex', context);
    const [statement] = createIndex(schema, this.pool.concurrent);
    if (statement === undefined) return;
    for (;;) {
      switch (await this.state(schema, context)) {
        case 'valid':
          return;
        case 'building':
          await this.wait(context);
          break;
        case 'broken':
          // What a build that failed has left behind: it is kept up to date, and used by nobody.
          await this.race(() => this.dropNow(schema, context), context);
          break;
        case 'absent':
          await this.race(() => this.pool.script(statement, context), context);
      }
    }
  }

  /** Another process that does the same may win: what is there then is looked at again. */
  private async race(work: () => Promise<void>, context: OperationContext): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!LOST_RACES.has(sqlState(error) ?? '')) throw buildFault(error);
      await this.wait(context);
    }
  }

  private wait(context: OperationContext): Promise<void> {
    if (this.clock.monotonic() + POLL > context.deadline)
      throw new TimeoutError('The index is still being built by another process', { component: this.component });
    return sleep(this.clock, POLL, context.signal);
  }

  /** One that another process builds is left to it: who waited for its end would have to be waited for by it. */
  async drop(schema: VectorSchema, context: OperationContext): Promise<void> {
    this.refuseSession('dropIndex', context);
    for (let isGone = false; !isGone;) {
      const state = await this.state(schema, context);
      if (state === 'absent' || state === 'building') return;
      await this.race(async () => {
        await this.dropNow(schema, context);
        isGone = true;
      }, context);
    }
  }

  private async dropNow(schema: VectorSchema, context: OperationContext): Promise<void> {
    const concurrently = this.pool.concurrent === true ? 'CONCURRENTLY ' : '';
    await this.pool.script(`DROP INDEX ${concurrently}IF EXISTS ${SCHEMA}."${indexName(schema)}"`, context);
  }

  private async state(schema: VectorSchema, context: OperationContext): Promise<State> {
    const text =
      'SELECT i.indisvalid AS valid, EXISTS (SELECT 1 FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid) AS building ' +
      'FROM pg_index i WHERE i.indexrelid = to_regclass($1::text)';
    const { rows } = await this.pool.query(text, [`${SCHEMA}."${indexName(schema)}"`], context);
    const [found] = rows;
    if (found === undefined) return 'absent';
    if (found['valid'] === true) return 'valid';
    return found['building'] === true ? 'building' : 'broken';
  }

  private refuseSession(operation: string, { session }: OperationContext): void {
    if (session === undefined) return;
    throw new ValidationError('VALIDATION', 'An index is built and dropped outside of transactions', {
      component: this.component,
      operation,
    });
  }
}
