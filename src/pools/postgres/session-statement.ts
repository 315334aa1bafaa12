/** One statement of a transaction: in its turn, behind what must go before it, and what its failure means for the rest. */
import type { OperationContext } from '../../component.js';
import { controlStatementError, isStorageError, type StorageError } from '../../errors.js';
import type { QueryOptions, SqlResult } from '../pool.js';
import { isReadOnly } from './errors.js';
import { leaveReadOnly, type Opened } from './opened.js';
import { sessionFault } from './outcome.js';
import type { Runner } from './runner.js';
import type { PostgresSession } from './session.js';
import type { Statement } from './statement.js';

const UNTOLD: SqlResult = { rows: [], affected: 0 };

interface Manner {
  /** Whether others may be sent before it is answered: it undoes nothing, and neither sets nor ends what is around them. */
  readonly shares?: boolean;
  /** Where its answer is not asked for: what the transaction fails by, made of what the statement failed by. */
  readonly ahead?: QueryOptions['ahead'];
}

/** @param parts of the pool; throws where it is closed */
export function runInSession(
  session: PostgresSession,
  operation: string,
  context: OperationContext,
  parts: () => Opened,
  make: (runner: Runner) => Statement,
  { shares = false, ahead }: Manner = {},
): Promise<SqlResult> {
  const work = async (): Promise<SqlResult> => {
    const refusal = session.admit(context);
    if (refusal !== undefined) throw refusal;
    const opened = parts();
    const { runner } = opened;
    const { connection, isBegun } = session;
    const { name } = session.pool;
    const statement = make(runner);
    statement.preface = session.preface();
    const faultOf = (error: unknown): StorageError => {
      if (isReadOnly(error)) leaveReadOnly(opened, connection);
      // An error leaves a transaction in it, unless the text had ended that before. The connection's own state may be that of a
      // later statement by now.
      const isEnded = isBegun && statement.answered && statement.status === 'I' && connection.endedBy === undefined;
      return isEnded ? controlStatementError(name, operation, error) : sessionFault(error, connection, name, operation);
    };
    if (ahead !== undefined && session.mayLeave(statement, context)) {
      // Its caller's own time is over once it is sent.
      const answer = runner.runInSession(connection, statement, { ...context, deadline: session.deadline });
      session.leave(statement, answer, (error) => ahead(faultOf(error)));
      return UNTOLD;
    }
    try {
      const result = await runner.runInSession(connection, statement, context);
      if (statement.status === 'I') throw session.refusal() ?? controlStatementError(name, operation);
      return result;
    } catch (error) {
      const fault = faultOf(error);
      const undo = isStorageError(fault, 'ALREADY_EXISTS') ? statement.undo : undefined;
      if (undo !== undefined && (await runner.succeedsInSession(connection, undo, context))) throw fault;
      // The statements after a failed one fail too: what went wrong is the first error.
      throw (session.failure ??= fault);
    }
  };
  return shares && session.mayShare(context) ? session.turns.share(context, work) : session.turns.run(context, work);
}
