/** New records in bulk, as rows of COPY's text format. */
import { sleep, systemClock } from '../../../clock.js';
import type { OperationContext } from '../../../component.js';
import { ConflictError, isSerializationFailure, UnsupportedError } from '../../../errors.js';
import { compareText } from '../../../filter/evaluate.js';
import { recordWords } from '../../../filter/text.js';
import { alone } from '../../../pools/turn-queue.js';
import type { PostgresDialectPool } from '../../../pools/pool.js';
import type { RecordSchema, Write } from '../../backend.js';
import type { Database } from '../dialect.js';
import { dropExpired } from '../expired.js';
import { uniqueViolation, type Violation } from '../fault.js';
import { tablePlan } from '../table-plan.js';
import { insertColumns } from '../statements.js';
import { uniqueError } from '../unique.js';
import { tableName } from './expressions.js';
import { expiryText, timeText } from './parameters.js';

/** How often a load that met another is made. */
const ATTEMPTS = 10;

export type Insert = Write & { readonly kind: 'insert' };

/** All or none. @throws `ALREADY_EXISTS`, and a session goes on. */
export async function loadAll(
  database: Database,
  tenant: string,
  writes: readonly Insert[],
  context: OperationContext,
): Promise<void> {
  const collection = writes[0]?.collection;
  if (collection === undefined) return;
  if (writes.some((write) => write.collection !== collection))
    throw new UnsupportedError('Records are loaded into one collection at a time', { component: database.pool.name });
  const load = new Load(database, tenant, collection, inOrder(writes));
  return alone(context, (on) => load.run(on));
}

class Load {
  private readonly target: string;

  constructor(
    private readonly database: Database,
    private readonly tenant: string,
    private readonly collection: RecordSchema,
    private readonly writes: readonly Insert[],
  ) {
    this.target = `${tableName(collection.name)} ${insertColumns(collection.text.length > 0)}`;
  }

  /** Loads that meet may deadlock, or find the other's records: nothing of this one is kept then, so it is made again. */
  async run(context: OperationContext): Promise<void> {
    for (let attempt = 1; ; attempt++)
      try {
        return await this.attempt(context);
      } catch (error) {
        if (context.session !== undefined || attempt === ATTEMPTS || !isSerializationFailure(error)) throw error;
        await sleep(systemClock, Math.random() * 20 * attempt, context.signal);
      }
  }

  private async attempt(context: OperationContext): Promise<void> {
    let met: { readonly violation: Violation; readonly error: unknown };
    try {
      return await this.copy(context);
    } catch (error) {
      const violation = uniqueViolation(error);
      if (violation === undefined) throw error;
      met = { violation, error };
    }
    if (context.session !== undefined) return this.copyOverExpired(context, met);
    await this.database.pool.transaction({ context }, (session) => this.copyOverExpired({ ...context, session }, met));
  }

  /** An id or a key may be held by an expired record that no sweep has met yet. */
  private async copyOverExpired(
    context: OperationContext,
    { violation, error }: { readonly violation: Violation; readonly error: unknown },
  ): Promise<void> {
    if ((await dropExpired(this.database, { tenant: this.tenant }, this.collection, context)) === 0)
      throw this.refusal(violation, error);
    try {
      await this.copy(context);
    } catch (again) {
      const second = uniqueViolation(again);
      throw second === undefined ? again : this.refusal(second, again);
    }
  }

  private copy(context: OperationContext): Promise<void> {
    return (this.database.pool as PostgresDialectPool).copyIn(this.target, this.lines(context.now), context);
  }

  private *lines(now: Date): Iterable<string> {
    const { text } = this.collection;
    const tenant = escape(this.tenant);
    const time = timeText(now);
    for (const { id, value, createdAt, expiresAt } of this.writes) {
      const created = createdAt === undefined ? time : timeText(createdAt);
      const words = text.length === 0 ? '' : `\t${escape(arrayText(recordWords(text, value)))}`;
      const json = JSON.stringify(value);
      yield `${tenant}\t${escape(id)}\t1\t${created}\t${time}\t${expiryText(expiresAt)}\t${escapeJson(json)}${words}\n`;
    }
  }

  private refusal({ index }: Violation, cause: unknown): ConflictError {
    const { name } = this.collection;
    if (index !== undefined && tablePlan(this.database.dialect, this.collection).unique.has(index))
      return uniqueError(this.database.dialect, { index }, this.writes, cause);
    return new ConflictError('ALREADY_EXISTS', `A record of ${name} has an id of those that are loaded`, {
      operation: 'load',
      details: { collection: name },
      cause,
    });
  }
}

/** Equal order in all batches: two that wait for each other's keys would deadlock. */
function inOrder(writes: readonly Insert[]): readonly Insert[] {
  if (writes.every(({ id }, i) => i === 0 || compareText(writes[i - 1]!.id, id) < 0)) return writes;
  return [...writes].sort((a, b) => compareText(a.id, b.id));
}

const SPECIAL = /[\\\t\n\r]/g;
const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

/** A value as a field of COPY's text format; `\N`, which stands for NULL, is none. */
function escape(text: string): string {
  return text.search(SPECIAL) < 0 ? text : text.replace(SPECIAL, (one) => ESCAPES[one]!);
}

/** JSON has no control characters, and seldom a backslash. */
function escapeJson(json: string): string {
  return json.includes('\\') ? json.replaceAll('\\', '\\\\') : json;
}

/** Words have neither quotes nor backslashes, but one of them may be NULL. */
function arrayText(words: readonly string[]): string {
  return words.length === 0 ? '{}' : `{"${words.join('","')}"}`;
}
