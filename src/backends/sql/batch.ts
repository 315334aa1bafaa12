/**
 * Batches: one statement with one modifying part for each collection and kind. As autocommit it raises an error when an
 * item's condition fails, which undoes all of it; what failed is then told from the records as they are.
 */
import type { OperationContext } from '../../component.js';
import { recordWords } from '../../filter/text.js';
import type { SqlPool } from '../../pools/pool.js';
import type { RecordSchema, Write, WriteResult } from '../backend.js';
import { tableName } from './expressions.js';
import { sqlFault } from './fault.js';
import { refusal } from './outcome.js';
import { expiryText, Parameters, timeText } from './parameters.js';
import { patchStatement } from './patch.js';
import { readMet } from './read.js';
import { readRow, readTime, RECORD_COLUMNS, type Row } from './row.js';
import { ATTEMPTS, contention } from './single.js';
import { insertColumns, insertOver, putOver } from './statements.js';

type Kind = Write['kind'];
interface Group {
  readonly collection: RecordSchema;
  readonly kind: Kind;
  /** The places of its writes in the batch, by id. */
  readonly places: Map<string, number>;
}

/** Patches differ in their text, so each is a part of its own; more than these go into a further statement. */
const PATCHES = 40;

// In this order, so that a batch may free a unique key and take it again.
const KINDS: readonly Kind[] = ['delete', 'replace', 'patch', 'put', 'insert'];

export async function writeBatch(
  pool: SqlPool,
  tenant: string,
  writes: readonly Write[],
  context: OperationContext,
): Promise<WriteResult[]> {
  const statements = groupWrites(writes);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const results = await attemptBatch(pool, tenant, writes, statements, context);
    if (results !== undefined) return results;
    const met = await readMet(pool, tenant, writes, context);
    const refusals = writes.map((write, i) => refusal(write, met[i]));
    if (refusals.some((refused) => refused !== undefined))
      return refusals.map((refused) => refused ?? { status: 'skipped' });
  }
  throw contention('write');
}

/** The groups of each statement. */
function groupWrites(writes: readonly Write[]): Group[][] {
  const groups = new Map<RecordSchema, Map<Kind, Group>>();
  const patches: Group[] = [];
  writes.forEach(({ collection, kind, id }, place) => {
    if (kind === 'patch') {
      patches.push({ collection, kind, places: new Map([[id, place]]) });
      return;
    }
    let kinds = groups.get(collection);
    if (kinds === undefined) groups.set(collection, (kinds = new Map<Kind, Group>()));
    const group = kinds.get(kind);
    if (group === undefined) kinds.set(kind, { collection, kind, places: new Map([[id, place]]) });
    else group.places.set(id, place);
  });
  const all = [...groups.values()].flatMap((kinds) => [...kinds.values()]);
  const first = [...all, ...patches.slice(0, PATCHES)];
  first.sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind));
  const statements = [first];
  for (let i = PATCHES; i < patches.length; i += PATCHES) statements.push(patches.slice(i, i + PATCHES));
  return statements;
}

/** @returns `undefined` when an item's condition failed and nothing was written. */
async function attemptBatch(
  pool: SqlPool,
  tenant: string,
  writes: readonly Write[],
  statements: readonly (readonly Group[])[],
  context: OperationContext,
): Promise<WriteResult[] | undefined> {
  if (context.session !== undefined) {
    await pool.script('SAVEPOINT quartermaster_batch', context);
    const results = await runStatements(pool, tenant, writes, statements, context);
    const end = results === undefined ? 'ROLLBACK TO SAVEPOINT quartermaster_batch; ' : '';
    await pool.script(`${end}RELEASE SAVEPOINT quartermaster_batch`, context);
    return results;
  }
  if (statements.length === 1) {
    try {
      return await runStatement(pool, tenant, writes, statements[0]!, true, context);
    } catch (error) {
      if (sqlFault(error)?.state === REFUSED) return undefined;
      throw error;
    }
  }
  const refused = new Error('A condition of the batch failed');
  try {
    return await pool.transaction({ context }, async (session) => {
      const results = await runStatements(pool, tenant, writes, statements, { ...context, session });
      if (results === undefined) throw refused;
      return results;
    });
  } catch (error) {
    if (error === refused) return undefined;
    throw error;
  }
}

async function runStatements(
  pool: SqlPool,
  tenant: string,
  writes: readonly Write[],
  statements: readonly (readonly Group[])[],
  context: OperationContext,
): Promise<WriteResult[] | undefined> {
  const all: WriteResult[] = [];
  for (const groups of statements) {
    const results = await runStatement(pool, tenant, writes, groups, false, context);
    if (results === undefined) return undefined;
    // Sparse: each statement fills the places of its own writes.
    results.forEach((result, place) => (all[place] = result));
  }
  return all;
}

/** Division by zero: what the statement raises when it wrote fewer records than it has items. */
const REFUSED = '22012';

async function runStatement(
  pool: SqlPool,
  tenant: string,
  writes: readonly Write[],
  groups: readonly Group[],
  raise: boolean,
  context: OperationContext,
): Promise<WriteResult[] | undefined> {
  const parameters = new Parameters();
  const shared = {
    tenant: parameters.add(tenant, 'text'),
    now: parameters.add(timeText(context.now), 'timestamptz'),
  };
  const items = groups.reduce((sum, group) => sum + group.places.size, 0);
  const parts = groups.map((group, part) => {
    const own = groupWritesOf(group, writes);
    const first = own[0]!;
    const text =
      first.kind === 'patch'
        ? patchStatement(tenant, first, context.now, parameters)
        : groupStatement(group, own, shared, context.now, parameters);
    return `p${part} AS (${text})`;
  });
  const rowsOf = groups.map(({ kind }, part) => `SELECT ${part} AS part, ${resultColumns(kind)} FROM p${part} AS t`);
  // The divisor is no constant, or the planner would divide before it knows.
  const guard = `, 1 / (CASE WHEN (SELECT count(*) FROM done) = ${items} THEN 1 ELSE 0 END) AS complete`;
  const text = `WITH ${parts.join(', ')}, done AS (${rowsOf.join(' UNION ALL ')}) SELECT done.*${raise ? guard : ''} FROM done`;
  const { rows } = await pool.query(text, parameters.values, context);
  // With no row at all the guard is not asked; nothing was written then.
  if (rows.length < items) return undefined;
  const results: WriteResult[] = [];
  for (const row of rows) {
    const group = groups[Number(row['part'])]!;
    const id = row['id'] as string;
    results[group.places.get(id)!] = resultOf(row, group.kind, tenant, id);
  }
  return results;
}

function groupWritesOf(group: Group, writes: readonly Write[]): Write[] {
  const own = [...group.places.values()].map((place) => writes[place]!);
  // Equal order in all batches: two that lock in opposite orders would deadlock.
  return own.sort((a, b) => (a.id < b.id ? -1 : 1));
}

function resultColumns(kind: Kind): string {
  if (kind === 'patch' || kind === 'delete') return RECORD_COLUMNS;
  return (
    't.id, t.version, t.created_at, NULL::timestamptz(3) AS updated_at, NULL::timestamptz(3) AS expires_at, ' +
    'NULL::jsonb AS value'
  );
}

function resultOf(row: Row, kind: Kind, tenant: string, id: string): WriteResult {
  if (kind === 'patch') return { status: 'patched', record: readRow(row, tenant, id) };
  if (kind === 'delete') return { status: 'deleted', record: readRow(row, tenant, id) };
  return { status: 'written', version: Number(row['version']), createdAt: readTime(row['created_at']) };
}

type ValueWrite = Extract<Write, { value: unknown }>;

function groupStatement(
  group: Group,
  writes: readonly Write[],
  shared: { readonly tenant: string; readonly now: string },
  now: Date,
  parameters: Parameters,
): string {
  const table = tableName(group.collection.name);
  const ids = parameters.list(
    writes.map((write) => write.id),
    'text',
  );
  // A version no record has stands for "any": drivers differ over NULL in arrays.
  const versions = (): string =>
    parameters.list(
      writes.map((write) => ('ifVersion' in write ? (write.ifVersion ?? -1) : -1)),
      'float8',
    );
  const live = `t.tenant = ${shared.tenant} AND t.id = u.id AND t.expires_at > ${shared.now} AND (u.expected < 0 OR t.version = u.expected)`;
  if (group.kind === 'delete')
    return `DELETE FROM ${table} AS t USING unnest(${ids}, ${versions()}) AS u(id, expected) WHERE ${live} RETURNING ${RECORD_COLUMNS}`;

  const values = writes as readonly ValueWrite[];
  const words = group.collection.text.length > 0;
  const lists = [
    ids,
    parameters.list(
      values.map((write) => JSON.stringify(write.value)),
      'text',
    ),
    parameters.list(
      values.map((write) => expiryText(write.expiresAt)),
      'timestamptz',
    ),
  ];
  const columns = ['id', 'value', 'expires'];
  if (words) {
    const texts = values.map((write) => JSON.stringify(recordWords(group.collection.text, write.value)));
    lists.push(parameters.list(texts, 'text'));
    columns.push('words');
  }
  const wordsOf = 'ARRAY(SELECT jsonb_array_elements_text(u.words::jsonb))';
  const written = 'RETURNING t.id, t.version, t.created_at';
  if (group.kind === 'replace') {
    lists.push(versions());
    columns.push('expected');
    return (
      `UPDATE ${table} AS t SET value = u.value::jsonb, version = t.version + 1, updated_at = ${shared.now}, expires_at = u.expires` +
      `${words ? `, words = ${wordsOf}` : ''} FROM unnest(${lists.join(', ')}) AS u(${columns.join(', ')}) WHERE ${live} ${written}`
    );
  }
  const created = values.map((write) => timeText(write.kind === 'replace' ? now : (write.createdAt ?? now)));
  lists.push(parameters.list(created, 'timestamptz'));
  columns.push('created');
  const over =
    group.kind === 'insert' ? `${insertOver(words)} WHERE t.expires_at <= ${shared.now}` : putOver(words, shared.now);
  return (
    `INSERT INTO ${table} AS t ${insertColumns(words)} SELECT ${shared.tenant}, u.id, 1, u.created, ${shared.now}, u.expires, u.value::jsonb` +
    `${words ? `, ${wordsOf}` : ''} FROM unnest(${lists.join(', ')}) AS u(${columns.join(', ')}) ORDER BY u.id ` +
    `ON CONFLICT (tenant, id) DO UPDATE SET ${over} ${written}`
  );
}
