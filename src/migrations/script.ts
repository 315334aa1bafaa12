/** SQL of the host's in a transaction of the library's: what it sets ends with it, and the transaction stays the library's. */
import type { OperationContext } from '../component.js';
import { controlStatementError } from '../errors.js';
import type { SqlPool } from '../pools/pool.js';

/** What a session is reset to is what its pool said when it opened. */
const RESET = 'SET SESSION AUTHORIZATION DEFAULT; RESET ALL';
/** Other transactions have other numbers; that of a step has one, since it wrote the lock's record. */
const STATE = "SELECT txid_current_if_assigned()::text AS id, current_setting('statement_timeout') AS timeout";

/** @throws what the database says; `VALIDATION` when the text has ended the transaction. */
export async function runScript(pool: SqlPool, text: string, context: OperationContext): Promise<void> {
  if (pool.dialect !== 'postgres') return pool.script(text, context, { foreign: true });
  const state = async (): Promise<Readonly<Record<string, unknown>>> => (await pool.query(STATE, [], context)).rows[0]!;
  const before = await state();
  await pool.script(text, context, { foreign: true });
  // The transaction's own limit goes with the rest.
  await pool.script(`${RESET}; SET LOCAL statement_timeout = '${String(before['timeout'])}'`, context);
  if ((await state())['id'] !== before['id']) throw controlStatementError(pool.name, 'script');
}
