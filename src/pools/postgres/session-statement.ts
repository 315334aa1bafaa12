/** One statement of a transaction: in its turn, with what must go before it, and what its failure means for the rest. */
import type { OperationContext } from '../../component.js';
import { controlStatementError, isStorageError } from '../../errors.js';
import type { SqlResult } from '../pool.js';
import { faultIn } from '../local-session.js';
import { isReadOnly } from './errors.js';
import { leaveReadOnly, type Opened } from './opened.js';
import { sessionFault } from './outcome.js';
import type { Runner } from './runner.js';
import type { PostgresSession } from './session.js';
import type { Statement } from './statement.js';

const UNTOLD: SqlResult = { rows: [], affected: 0 };

/**
 * @param parts of the pool; throws where it is closed
 * @param untold whether its answer is not asked for, so that it may travel with the next one
 */
export function runInSession(
  session: PostgresSession,
  operation: string,
  context: OperationContext,
  parts: () => Opened,
  make: (runner: Runner) => Statement,
  untold = false,
): Promise<SqlResult> {
  return session.inTurn(context, async () => {
    const refusal = session.admit(context);
    if (refusal !== undefined) throw refusal;
    const opened = parts();
    const statement = make(opened.runner);
    if (untold && session.mayLeave(statement, context)) {
      session.leave(statement, (fault) => faultIn(context, fault));
      return UNTOLD;
    }
    const left = statement.isScript ? session.takeLeft() : undefined;
    if (left !== undefined) await send(session, left, operation, context, opened);
    statement.preface = session.preface();
    return send(session, statement, operation, context, opened);
  });
}

/** With the preface that it has. @throws what the session fails by */
async function send(
  session: PostgresSession,
  statement: Statement,
  operation: string,
  context: OperationContext,
  opened: Opened,
): Promise<SqlResult> {
  const { runner } = opened;
  const { connection } = session;
  const { name } = session.pool;
  const isBegun = connection.status !== 'I';
  try {
    const result = await runner.runInSession(connection, statement, context);
    if (statement.status === 'I') throw session.refusal() ?? controlStatementError(name, operation);
    return result;
  } catch (error) {
    if (isReadOnly(error)) leaveReadOnly(opened, connection);
    // An error leaves a transaction in it, unless the text had ended that before.
    const isEnded = isBegun && connection.status === 'I' && connection.endedBy === undefined;
    const fault = isEnded
      ? controlStatementError(name, operation, error)
      : sessionFault(error, connection, name, operation);
    const isOwn = statement.current === statement;
    const undo = isOwn && isStorageError(fault, 'ALREADY_EXISTS') ? statement.undo : undefined;
    if (undo !== undefined && (await runner.succeedsInSession(connection, undo, context))) throw fault;
    // The statements after a failed one fail too: what went wrong is the first error.
    throw (session.failure ??= isOwn ? faultIn(context, fault) : session.faultOf(statement, fault));
  }
}
