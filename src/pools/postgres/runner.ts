/** Runs statements on connections within the time and by the signal of their operation. */
import { listenToAbort } from '../../abort.js';
import { aborted, type Clock } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { beginWith } from '../statement-settings.js';
import type { Setting, SqlResult } from '../pool.js';
import { USUAL_STATEMENT_TIMEOUT } from './connect.js';
import type { Connection } from './connection.js';
import type { Library } from './library.js';
import { limitsStatements, type PostgresOptions } from './settings.js';
import type { StatementLimit } from './session.js';
import { type FallbackParser, Statement } from './statement.js';
import type { Encoded } from './values.js';

/** The server's limit is a net for what a cancel did not reach: it comes after the client's own. */
const MARGIN = 1_000;

export class Runner {
  /** What a name stands for; the server is given a short name of its own. */
  private readonly names = new Map<string, { readonly text: string; readonly name: string }>();
  private readonly fallback: FallbackParser;
  private readonly pooled: boolean;
  private readonly limited: boolean;
  private readonly cap: number | null;

  constructor(
    { types }: Library,
    options: PostgresOptions,
    private readonly clock: Clock,
  ) {
    this.fallback = (oid) => types.getTypeParser(oid, 'text');
    this.pooled = options.pooler === 'transaction';
    this.limited = limitsStatements(options);
    this.cap = options.statementTimeout;
  }

  /**
   * @param name stands for one text; a second text is run without a name.
   * @param settings for it alone: in a transaction of its own, and all of that in one round trip.
   */
  statement(text: string, values: readonly Encoded[], name?: string, settings?: readonly Setting[]): Statement {
    const statement = new Statement(text, values, name === undefined ? undefined : this.serverName(name, text));
    statement.fallback = this.fallback;
    if (settings !== undefined) {
      statement.preface = beginWith(settings);
      statement.epilogue = ['COMMIT'];
    }
    return statement;
  }

  /** @throws unmapped. */
  run(connection: Connection, statement: Statement, context: OperationContext): Promise<SqlResult> {
    // Nothing is sent ahead of a statement that its signal has ended: the connection would be given back with that running.
    if (!this.limited && !this.pooled && context.signal?.aborted !== true) {
      const left = context.deadline - this.clock.monotonic();
      if (left > connection.statementTimeout)
        limitStatements(connection, milliseconds(2 * left + MARGIN) ?? 0, context);
      // As a longer statement, or a host, has left it.
      else if (connection.statementTimeout > USUAL_STATEMENT_TIMEOUT && left <= USUAL_STATEMENT_TIMEOUT)
        limitStatements(connection, USUAL_STATEMENT_TIMEOUT, context);
    }
    return this.runInSession(connection, statement, context);
  }

  /** In a transaction, whose own limit was set when it began. */
  runInSession(connection: Connection, statement: Statement, context: OperationContext): Promise<SqlResult> {
    statement.deadline = context.deadline;
    return context.signal === undefined ? connection.run(statement) : abortable(connection, statement, context.signal);
  }

  succeedsInSession(connection: Connection, statement: Statement, context: OperationContext): Promise<boolean> {
    return this.runInSession(connection, statement, context).then(
      () => true,
      () => false,
    );
  }

  /** The server's limit for the statements of a transaction; `undefined`: that of the connection will do. */
  transactionLimit(connection: Connection, { deadline }: OperationContext): StatementLimit | undefined {
    const left = deadline - this.clock.monotonic() + MARGIN;
    if (this.pooled) return limitOf(milliseconds(Math.min(left, this.cap || Infinity)));
    if (this.limited) return undefined;
    const { statementTimeout } = connection;
    if (left > statementTimeout) return limitOf(milliseconds(left) ?? 0);
    if (statementTimeout <= USUAL_STATEMENT_TIMEOUT) return undefined;
    if (left > USUAL_STATEMENT_TIMEOUT) return limitOf(milliseconds(left));
    return { milliseconds: USUAL_STATEMENT_TIMEOUT, stays: true };
  }

  private serverName(name: string, text: string): string | undefined {
    if (this.pooled) return undefined;
    const known = this.names.get(name);
    if (known !== undefined) return known.text === text ? known.name : undefined;
    const added = { text, name: `qm${this.names.size}` };
    this.names.set(name, added);
    return added.name;
  }
}

/**
 * Sets the server's limit for the statements of a connection, in milliseconds, 0: none. It is sent before the next one
 * without waiting for its answer, and not together with it: some statements refuse to stand with another.
 */
function limitStatements(connection: Connection, limit: number, { deadline }: OperationContext): void {
  const statement = new Statement(`SET statement_timeout = ${limit}`);
  statement.leads = true;
  statement.deadline = deadline;
  connection.statementTimeout = limit === 0 ? Infinity : limit;
  // What it fails by, the statement behind it fails by too.
  connection.run(statement).catch(() => undefined);
}

function limitOf(milliseconds: number | undefined): StatementLimit | undefined {
  return milliseconds === undefined ? undefined : { milliseconds, stays: false };
}

/** As the server takes it. */
function milliseconds(limit: number): number | undefined {
  return limit < 2 ** 31 ? Math.max(1, Math.ceil(limit)) : undefined;
}

function abortable(connection: Connection, statement: Statement, signal: AbortSignal): Promise<SqlResult> {
  const onAbort = (): void => connection.stop(aborted(signal));
  if (signal.aborted) return Promise.reject(aborted(signal));
  const unlisten = listenToAbort(signal, onAbort);
  return connection.run(statement).finally(unlisten);
}
