/** One write in one statement; a second one only to say why it was refused. */
import type { OperationContext } from '../../../component.js';
import { ConflictError } from '../../../errors.js';
import type { Write, WriteResult } from '../../backend.js';
import type { Database } from '../dialect.js';
import { readRow } from '../row.js';
import { namedStatement } from '../statement-names.js';
import { keyOperation, keyResult } from '../single.js';
import { PostgresParameters } from './parameters.js';
import { type Freeing, mayMeet } from './expired.js';
import { patchStatement } from './patch.js';
import { readRefusals } from './read.js';
import { freeingStatements } from './statements.js';

/** How often a write is tried whose condition holds again each time it is asked why it was refused. */
export const ATTEMPTS = 5;

export async function writeOne(
  database: Database,
  tenant: string,
  write: Write,
  freeing: Freeing,
  context: OperationContext,
): Promise<WriteResult> {
  const frees = mayMeet(write, freeing);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const result = await attemptWrite(database, tenant, write, frees, context);
    if (result !== undefined) return result;
    const [refused] = await readRefusals(database, tenant, [write], context);
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
  { pool, dialect }: Database,
  tenant: string,
  write: Write,
  free: boolean,
  context: OperationContext,
): Promise<WriteResult | undefined> {
  if (write.kind !== 'patch') {
    const statements = free ? freeingStatements(write.collection) : dialect.statements(write.collection);
    const { text, values, options } = keyOperation(dialect, tenant, write, context.now, statements);
    return keyResult(dialect, tenant, write, await pool.query(text, values, context, options), context.now);
  }
  const parameters = new PostgresParameters();
  const text = patchStatement(dialect, tenant, write, context.now, parameters, free);
  const { rows } = await pool.query(text, parameters.values, context, namedStatement(pool, text, 'patch'));
  return rows[0] === undefined ? undefined : { status: 'patched', record: readRow(dialect, rows[0], tenant, write.id) };
}
