/**
 * Batches: one statement with one modifying part for each collection and kind. As autocommit it raises an error when an
 * item's condition fails, which undoes all of it; what failed is then told from the records as they are.
 */
import type { OperationContext } from '../../../component.js';
import type { Write, WriteResult } from '../../backend.js';
import { againAfterDeadlock } from '../../../pools/deadlock.js';
import type { Database, Dialect, Row } from '../dialect.js';
import { sqlFault } from '../fault.js';
import { readRow } from '../row.js';
import { written } from '../single.js';
import { namedStatement } from '../statement-names.js';
import { WRITE_ORDER } from '../../write-order.js';
import { batchStatement, COUNT, REFUSED, type Group, type Kind } from './batch-statement.js';
import { type Freeing, mayMeet } from './expired.js';
import { readRefusals } from './read.js';
import { ATTEMPTS, contention } from './single.js';

/** Patches differ in their text, so each is a part of its own; more than these go into a further statement. */
const PATCHES = 40;

export async function writeBatch(
  database: Database,
  tenant: string,
  writes: readonly Write[],
  freeing: Freeing,
  context: OperationContext,
): Promise<WriteResult[]> {
  const statements = groupWrites(writes);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const results = await againAfterDeadlock(context, () =>
      attemptBatch(database, tenant, writes, statements, freeing, context),
    );
    if (results !== undefined) return results;
    const refusals = await readRefusals(database, tenant, writes, context);
    if (refusals.some((refused) => refused !== undefined))
      return refusals.map((refused) => refused ?? { status: 'skipped' });
  }
  throw contention('write');
}

/** The groups of each statement. */
function groupWrites(writes: readonly Write[]): Group[][] {
  const groups: Group[] = [];
  const patches: Group[] = [];
  writes.forEach((write, place) => {
    const { collection, kind, id } = write;
    if (kind === 'patch') {
      patches.push({ collection, kind, isTold: true, places: new Map([[id, place]]) });
      return;
    }
    const isTold = kind === 'delete' ? write.returns !== false : kind !== 'insert';
    const group = groups.find((one) => one.kind === kind && one.collection === collection && one.isTold === isTold);
    if (group === undefined) groups.push({ collection, kind, isTold, places: new Map([[id, place]]) });
    else group.places.set(id, place);
  });
  const first = [...groups, ...patches.slice(0, PATCHES)];
  first.sort((a, b) => WRITE_ORDER.indexOf(a.kind) - WRITE_ORDER.indexOf(b.kind));
  const statements = [first];
  for (let i = PATCHES; i < patches.length; i += PATCHES) statements.push(patches.slice(i, i + PATCHES));
  return statements;
}

/** @returns `undefined` when an item's condition failed and nothing was written. */
async function attemptBatch(
  database: Database,
  tenant: string,
  writes: readonly Write[],
  statements: readonly (readonly Group[])[],
  freeing: Freeing,
  context: OperationContext,
): Promise<WriteResult[] | undefined> {
  const { pool } = database;
  if (context.session !== undefined) {
    await pool.script('SAVEPOINT quartermaster_batch', context);
    const results = await runStatements(database, tenant, writes, statements, freeing, context);
    const end = results === undefined ? 'ROLLBACK TO SAVEPOINT quartermaster_batch; ' : '';
    await pool.script(`${end}RELEASE SAVEPOINT quartermaster_batch`, context);
    return results;
  }
  if (statements.length === 1) {
    try {
      return await runStatement(database, tenant, writes, statements[0]!, { raise: true, freeing }, context);
    } catch (error) {
      if (sqlFault(error)?.state === REFUSED) return undefined;
      throw error;
    }
  }
  const refused = new Error('A condition of the batch failed');
  try {
    return await pool.transaction({ context }, async (session) => {
      const results = await runStatements(database, tenant, writes, statements, freeing, { ...context, session });
      if (results === undefined) throw refused;
      return results;
    });
  } catch (error) {
    if (error === refused) return undefined;
    throw error;
  }
}

async function runStatements(
  database: Database,
  tenant: string,
  writes: readonly Write[],
  statements: readonly (readonly Group[])[],
  freeing: Freeing,
  context: OperationContext,
): Promise<WriteResult[] | undefined> {
  const all: WriteResult[] = [];
  for (const groups of statements) {
    const how = { raise: false, freeing: groups === statements[0] ? freeing : 'none' } as const;
    const results = await runStatement(database, tenant, writes, groups, how, context);
    if (results === undefined) return undefined;
    // Sparse: each statement fills the places of its own writes.
    results.forEach((result, place) => (all[place] = result));
  }
  return all;
}

async function runStatement(
  database: Database,
  tenant: string,
  writes: readonly Write[],
  groups: readonly Group[],
  { raise, freeing }: { readonly raise: boolean; readonly freeing: Freeing },
  context: OperationContext,
): Promise<WriteResult[] | undefined> {
  const { pool, dialect } = database;
  const items = groups.reduce((sum, group) => sum + group.places.size, 0);
  const clears = new Set(writes.filter((write) => mayMeet(write, freeing)).map(({ collection }) => collection));
  const complete = raise ? items : undefined;
  const { text, parameters } = batchStatement(dialect, tenant, writes, groups, [...clears], complete, context.now);
  const { rows } = await pool.query(text, parameters.values, context, namedStatement(pool, text, 'batch'));
  const results: WriteResult[] = [];
  for (const row of rows) {
    const part = Number(row['part']);
    if (part === COUNT) {
      if (Number(row['version']) < items) return undefined;
      continue;
    }
    const group = groups[part]!;
    const id = row['id'] as string;
    results[group.places.get(id)!] = resultOf(dialect, row, group.kind, tenant, id);
  }
  for (const { kind, isTold, places } of groups) {
    if (isTold) continue;
    for (const place of places.values())
      results[place] = kind === 'delete' ? { status: 'deleted' } : inserted(writes[place]!, context.now);
  }
  return results;
}

export function inserted(write: Write, now: Date): WriteResult {
  const createdAt = 'createdAt' in write ? write.createdAt : undefined;
  return { status: 'written', version: 1, createdAt: new Date(createdAt ?? now) };
}

function resultOf(dialect: Dialect, row: Row, kind: Kind, tenant: string, id: string): WriteResult {
  if (kind === 'patch') return { status: 'patched', record: readRow(dialect, row, tenant, id) };
  if (kind === 'delete') return { status: 'deleted', record: readRow(dialect, row, tenant, id) };
  return written(row);
}
