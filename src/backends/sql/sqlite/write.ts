/**
 * Writes. One write of its key is one statement where nothing stands in its way; everything else is a step: its statements
 * run in one transaction and one turn of the event loop, so that what they read stays true until they have written.
 */
import type { OperationContext } from '../../../component.js';
import type { RunStatement } from '../../../pools/pool.js';
import type { JsonObject, RecordKey, RecordSchema, Stored, Write, WriteResult } from '../../backend.js';
import { jsonBytes } from '../../value.js';
import { inWriteOrder } from '../../write-order.js';
import { MAX_VALUE_BYTES, type PatchWrite } from '../changes.js';
import type { Database, Dialect } from '../dialect.js';
import { uniqueViolation } from '../fault.js';
import { patch, refusal } from '../outcome.js';
import { keyOperation, keyResult } from '../single.js';
import { uniqueError } from '../unique.js';
import { readOne, steps } from './read.js';
import { tableName } from './expressions.js';

export async function writeAll(
  database: Database,
  tenant: string,
  writes: readonly Write[],
  context: OperationContext,
): Promise<WriteResult[]> {
  const [first] = writes;
  const { session } = context;
  if (session?.failure !== undefined) throw session.failure;
  if (writes.length === 1 && first!.kind !== 'patch' && session === undefined) {
    const { pool, dialect } = database;
    const { text, values, options } = keyOperation(dialect, tenant, first!, context.now);
    try {
      const result = keyResult(dialect, tenant, first!, await pool.query(text, values, context, options), context.now);
      if (result !== undefined) return [result];
    } catch (error) {
      if (uniqueViolation(error) === undefined) throw error;
    }
  }
  return writeStep(database, tenant, writes, context);
}

/** Undoes what a batch wrote before one of its items was refused. */
class Refused extends Error {
  constructor(readonly results: WriteResult[]) {
    super('A condition of the batch failed');
  }
}

async function writeStep(
  database: Database,
  tenant: string,
  writes: readonly Write[],
  context: OperationContext,
): Promise<WriteResult[]> {
  const { dialect } = database;
  const step = <R>(access: 'read' | 'write', work: (step: Step) => R): Promise<R> =>
    steps(database).step(access, context, (run) => work(new Step(run, dialect, tenant, context.now)));
  try {
    return await step('write', (own) => own.write(writes));
  } catch (error) {
    if (error instanceof Refused) return error.results;
    if (uniqueViolation(error) === undefined) throw error;
    // A condition that fails comes before a constraint.
    const refusals = await step('read', (own) => own.refusals(writes));
    if (refusals.some((result) => result.status !== 'skipped')) return refusals;
    throw uniqueFault(database, error, writes, context);
  }
}

/** What is thrown for an error of a step: a unique violation fails the session, and every other error is itself. */
export function uniqueFault(
  { dialect }: Database,
  error: unknown,
  targets: readonly { readonly collection: RecordSchema }[],
  { session }: OperationContext,
): unknown {
  const violation = uniqueViolation(error);
  if (violation === undefined) return error;
  const fault = uniqueError(dialect, violation, targets, error);
  if (session !== undefined) session.failure ??= fault;
  return fault;
}

const tooLarge = (_write: PatchWrite, value: JsonObject): boolean => jsonBytes(value) > MAX_VALUE_BYTES;

/** The writes of one step to one tenant's records. */
export class Step {
  constructor(
    private readonly run: RunStatement,
    private readonly dialect: Dialect,
    private readonly tenant: string,
    private readonly now: Date,
  ) {}

  write(writes: readonly Write[]): WriteResult[] {
    const results: WriteResult[] = [];
    for (const place of inWriteOrder(writes)) {
      const result = this.writeOver(writes[place]!);
      // What the others met is as it was: no two have the same key.
      if (result === undefined) throw new Refused(this.refusals(writes, (other) => results[other] !== undefined));
      results[place] = result;
    }
    return results;
  }

  /** Why writes are refused; `skipped` where they are not, or are known not to be. */
  refusals(writes: readonly Write[], done: (place: number) => boolean = () => false): WriteResult[] {
    return writes.map((write, place) => {
      const refused = done(place) ? undefined : refusal(write, this.read(write), tooLarge);
      return refused ?? { status: 'skipped' };
    });
  }

  /**
   * Expired records hold their unique keys until they are swept: those are in nobody's way.
   * @returns `undefined` when a condition did not hold.
   */
  writeOver(write: Write): WriteResult | undefined {
    try {
      return this.writeOne(write);
    } catch (error) {
      if (uniqueViolation(error) === undefined || !this.dropExpired(write.collection)) throw error;
      return this.writeOne(write);
    }
  }

  private writeOne(write: Write): WriteResult | undefined {
    if (write.kind === 'patch') return this.patch(write);
    const { text, values } = keyOperation(this.dialect, this.tenant, write, this.now);
    return keyResult(this.dialect, this.tenant, write, this.run(text, values), this.now);
  }

  private patch(write: PatchWrite): WriteResult | undefined {
    const { collection, id, orInsert, expiresAt } = write;
    const met = this.read(write);
    if (met === undefined) {
      if (orInsert === undefined) return undefined;
      this.writeOne({ kind: 'insert', collection, id, value: orInsert, ...expiry(expiresAt) });
      return this.patched(write, 1, this.now, orInsert, expiresAt);
    }
    const made = patch(write, met, tooLarge);
    if ('refused' in made) return undefined;
    const { value } = made;
    const expires = expiresAt === undefined ? met.expiresAt : expiresAt;
    this.writeOne({ kind: 'replace', collection, id, value, ...expiry(expires) });
    return this.patched(write, met.version + 1, met.createdAt, value, expires);
  }

  private patched(
    { id }: PatchWrite,
    version: number,
    createdAt: Date,
    value: JsonObject,
    expiresAt: Date | null | undefined,
  ): WriteResult {
    const record: Stored = {
      tenant: this.tenant,
      id,
      version,
      createdAt: new Date(createdAt),
      updatedAt: new Date(this.now),
      ...expiry(expiresAt),
      // The caller's own copy, as it was stored.
      value: JSON.parse(JSON.stringify(value)) as JsonObject,
    };
    return { status: 'patched', record };
  }

  private read(key: RecordKey): Stored | undefined {
    return readOne(this.run, this.dialect, this.tenant, key, this.now);
  }

  private dropExpired({ name }: RecordSchema): boolean {
    // The plus keeps SQLite from the primary key, and so from reading the whole tenant.
    const text = `DELETE FROM ${tableName(name)} WHERE +tenant = ? AND expires_at <= ? AND ${this.dialect.expires('')}`;
    return this.run(text, [this.tenant, this.now.getTime()]).affected > 0;
  }
}

function expiry(time: Date | null | undefined): { readonly expiresAt?: Date } {
  return time === undefined || time === null ? {} : { expiresAt: new Date(time) };
}
