/** Patches of many records, each made by the definition of a patch, as that of one record is. */
import { setImmediate } from 'node:timers/promises';
import type { OperationContext } from '../../../component.js';
import type { RunStatement } from '../../../pools/pool.js';
import type { ClaimRequest, RecordSchema, Scope, Stored, UpdateRequest } from '../../backend.js';
import type { Database, Dialect, Row, Statement } from '../dialect.js';
import { orderBy, whereLive } from '../find.js';
import { tableName } from './expressions.js';
import { steps } from './read.js';
import { Step, uniqueFault } from './write.js';

/** So many keys are held at once, and found by one scan. */
const KEYS = 10_000;

/** So many records are one step: other work of the process, and other writers of the file, wait for no more. */
const PATCHES = 100;

/** In the order of the keys, so that none is met twice. A record that changed since its key was found is asked again. */
export async function updateMany(
  database: Database,
  scope: Scope,
  request: UpdateRequest,
  context: OperationContext,
): Promise<number> {
  let updated = 0;
  for (let after: Row | undefined; ;) {
    const { text, parameters } = keysAfter(database.dialect, scope, request, after, context.now);
    const { rows } = await database.pool.query(text, parameters.values, context);
    for (let i = 0; i < rows.length; i += PATCHES) {
      const keys = rows.slice(i, i + PATCHES);
      updated += await patchStep(database, scope, request, context, (_run, patch) => {
        let patched = 0;
        for (const key of keys) if (patch(key) !== undefined) patched++;
        return patched;
      });
      // A step that waits for nobody lets nobody in by itself.
      await setImmediate();
    }
    if (rows.length < KEYS) return updated;
    after = rows.at(-1);
  }
}

/** One step, which no other claim comes between. */
export async function claim(
  database: Database,
  scope: Scope,
  request: ClaimRequest,
  context: OperationContext,
): Promise<Stored[]> {
  const { limit } = request;
  return patchStep(database, scope, request, context, (run, patch) => {
    const claimed: Stored[] = [];
    const passed = new Set<string>();
    for (let wanted = limit; ; wanted = limit + 2 * passed.size) {
      const { text, parameters } = keysBy(database.dialect, scope, request, wanted, context.now);
      const { rows } = run(text, parameters.values);
      for (const row of rows) {
        const name = `${String(row['tenant'])}\u001f${String(row['id'])}`;
        // What was passed over, and what matches still, comes again.
        if (passed.has(name)) continue;
        passed.add(name);
        const record = patch(row);
        if (record !== undefined && claimed.push(record) === limit) return claimed;
      }
      if (rows.length < wanted) return claimed;
    }
  });
}

type PatchOne = (key: Row) => Stored | undefined;

async function patchStep<R>(
  database: Database,
  scope: Scope,
  { collection, filter, changes, expiresAt }: UpdateRequest,
  context: OperationContext,
  work: (run: RunStatement, patch: PatchOne) => R,
): Promise<R> {
  const { dialect } = database;
  if (context.session?.failure !== undefined) throw context.session.failure;
  const expiry = expiresAt === undefined ? {} : { expiresAt };
  try {
    return await steps(database).step('write', context, (run) =>
      work(run, (key) => {
        const tenant = scope === 'all' ? (key['tenant'] as string) : scope.tenant;
        const id = key['id'] as string;
        const step = new Step(run, dialect, tenant, context.now);
        const result = step.writeOver({ kind: 'patch', collection, id, changes, if: filter, ...expiry });
        return result?.status === 'patched' ? result.record : undefined;
      }),
    );
  } catch (error) {
    throw uniqueFault(database, error, [{ collection }], context);
  }
}

function keysAfter(
  dialect: Dialect,
  scope: Scope,
  { collection, filter }: UpdateRequest,
  after: Row | undefined,
  now: Date,
): Statement {
  const parameters = dialect.parameters();
  const terms = [whereLive(dialect, scope, filter, now, parameters)];
  if (after !== undefined) {
    const [tenant, id] = [after['tenant'] as string, after['id'] as string];
    terms.push(
      scope === 'all'
        ? `(t.tenant, t.id) > (${parameters.text(tenant)}, ${parameters.text(id)})`
        : `t.id > ${parameters.text(id)}`,
    );
  }
  const text = `${keysOf(collection)} WHERE ${terms.join(' AND ')} ORDER BY t.tenant, t.id LIMIT ${parameters.integer(KEYS)}`;
  return { text, parameters };
}

function keysBy(
  dialect: Dialect,
  scope: Scope,
  { collection, filter, sort }: ClaimRequest,
  limit: number,
  now: Date,
): Statement {
  const parameters = dialect.parameters();
  const where = whereLive(dialect, scope, filter, now, parameters);
  const order = orderBy(dialect, scope, sort);
  const text = `${keysOf(collection)} WHERE ${where} ORDER BY ${order} LIMIT ${parameters.integer(limit)}`;
  return { text, parameters };
}

function keysOf({ name }: RecordSchema): string {
  return `SELECT t.tenant, t.id FROM ${tableName(name)} AS t`;
}
