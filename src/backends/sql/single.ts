/** One write in one statement; a second one only to say why it was refused. */
import type { OperationContext } from '../../component.js';
import { ConflictError } from '../../errors.js';
import { recordWords } from '../../filter/text.js';
import type { SqlPool, SqlValue } from '../../pools/pool.js';
import type { JsonObject, RecordSchema, Write, WriteResult } from '../backend.js';
import { refusal } from './outcome.js';
import { expiryText, Parameters, timeText } from './parameters.js';
import { patchStatement } from './patch.js';
import { readMet } from './read.js';
import { readRow, readTime, type Row } from './row.js';
import { keyStatements } from './statements.js';

/** How often a write is tried whose condition holds again each time it is asked why it was refused. */
export const ATTEMPTS = 5;

export async function writeOne(
  pool: SqlPool,
  tenant: string,
  write: Write,
  context: OperationContext,
): Promise<WriteResult> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const result = await attemptWrite(pool, tenant, write, context);
    if (result !== undefined) return result;
    const [met] = await readMet(pool, tenant, [write], context);
    const refused = refusal(write, met);
    if (refused !== undefined) return refused;
  }
  throw contention('write');
}

export function contention(operation: string): ConflictError {
  return new ConflictError('CONFLICT', 'The record changed at every attempt to write it', {
    operation,
    retryable: true,
  });
}

async function attemptWrite(
  pool: SqlPool,
  tenant: string,
  write: Write,
  context: OperationContext,
): Promise<WriteResult | undefined> {
  const { collection, id } = write;
  const now = timeText(context.now);
  const statements = keyStatements(collection);
  switch (write.kind) {
    case 'insert': {
      const createdAt = write.createdAt ?? context.now;
      const values = insertValues(tenant, write, createdAt, now);
      const { affected } = await pool.query(statements.insert.text, values, context, statements.insert.options);
      return affected === 0 ? undefined : { status: 'written', version: 1, createdAt: new Date(createdAt) };
    }
    case 'put': {
      const values = insertValues(tenant, write, write.createdAt ?? context.now, now);
      const { rows } = await pool.query(statements.put.text, values, context, statements.put.options);
      return written(rows[0]);
    }
    case 'replace': {
      const values: SqlValue[] = [tenant, id, now, expiryText(write.expiresAt), JSON.stringify(write.value)];
      pushWords(values, collection, write.value);
      if (write.ifVersion !== undefined) values.push(write.ifVersion);
      const { text, options } = write.ifVersion === undefined ? statements.replace : statements.replaceVersion;
      const { rows } = await pool.query(text, values, context, options);
      return written(rows[0]);
    }
    case 'delete': {
      const { text, options } = write.ifVersion === undefined ? statements.delete : statements.deleteVersion;
      const values = write.ifVersion === undefined ? [tenant, id, now] : [tenant, id, now, write.ifVersion];
      const { rows } = await pool.query(text, values, context, options);
      return rows[0] === undefined ? undefined : { status: 'deleted', record: readRow(rows[0], tenant, id) };
    }
    case 'patch': {
      const parameters = new Parameters();
      const text = patchStatement(tenant, write, context.now, parameters);
      const { rows } = await pool.query(text, parameters.values, context);
      return rows[0] === undefined ? undefined : { status: 'patched', record: readRow(rows[0], tenant, id) };
    }
  }
}

function insertValues(
  tenant: string,
  write: Extract<Write, { kind: 'insert' | 'put' }>,
  createdAt: Date,
  now: string,
): SqlValue[] {
  const values: SqlValue[] = [
    tenant,
    write.id,
    timeText(createdAt),
    now,
    expiryText(write.expiresAt),
    JSON.stringify(write.value),
  ];
  pushWords(values, write.collection, write.value);
  return values;
}

function pushWords(values: SqlValue[], collection: RecordSchema, value: JsonObject): void {
  if (collection.text.length > 0) values.push(recordWords(collection.text, value));
}

function written(row: Row | undefined): WriteResult | undefined {
  if (row === undefined) return undefined;
  return { status: 'written', version: Number(row['version']), createdAt: readTime(row['created_at']) };
}
