/**
 * One statement, or a script, as the messages of one round trip. `pg` calls `submit` when its turn comes and hands it each
 * message that answers it. It ends at ReadyForQuery, never at the error before it: only then is the state of the
 * transaction known, and only then may the connection have another.
 */
import { StorageError } from '../../errors.js';
import { affectedRows } from '../command-tag.js';
import type { SqlResult } from '../pool.js';
import type { Field, TransactionStatus, Wire } from './library.js';
import { type Encoded, type Parse, parserOf } from './values.js';

type Row = Record<string, unknown>;

/** How the rows of a statement are read. */
export interface Columns {
  readonly names: readonly string[];
  readonly parsers: readonly Parse[];
}

/** What a connection knows of the statements that the server keeps for it. */
export type Prepared = Map<string, Columns | undefined>;

/** The reader of a type that is none of ours. */
export type FallbackParser = (oid: number) => Parse;

const NO_COLUMNS: Columns = { names: [], parsers: [] };

export class Statement {
  /**
   * Sent in the same round trip, before it: BEGIN, SET LOCAL, statements whose answers nobody asks for, and those not before
   * a script. One Sync ends them all, so that after one that fails nothing is run.
   */
  preface: readonly (string | Statement)[] = [];
  /** Sent in the same round trip, after it, and run only when it did not fail: COMMIT. */
  epilogue: readonly string[] = [];
  /** Of `Clock.monotonic`. */
  deadline = Infinity;
  /** Whether it only prepares the session for the statement behind it, which shares its end. */
  leads = false;
  /** Whether the server may have run it. */
  sent = false;
  /** Whether the server is asked to stop it when its time is over, and to say what became of it. */
  stoppable = false;
  /** Why it was asked to. */
  stopped: StorageError | undefined;
  /** The state in which it left the server's session. */
  status: TransactionStatus = 'I';
  /** The tag of the command that was completed: COMMIT, or ROLLBACK. */
  tag = '';
  /** What the server has said of it, where that was no good. */
  failure: Error | undefined;
  prepared: Prepared | undefined;
  fallback: FallbackParser | undefined;
  private readonly rows: Row[] = [];
  private columns = NO_COLUMNS;
  private described: Columns | undefined;
  private commands = 0;
  private ready = false;
  private resolve: ((result: SqlResult) => void) | undefined;
  private reject: ((error: Error) => void) | undefined;

  /**
   * @param values absent: a script, by the simple protocol.
   * @param plan the name under which the server keeps it. No `name`: `pg` would keep its own account of it.
   */
  constructor(
    readonly text: string,
    private readonly values?: readonly Encoded[],
    private readonly plan?: string,
  ) {}

  /** What undoes it alone in a transaction where it was refused. Absent: the transaction has failed. */
  get undo(): Statement | undefined {
    return undefined;
  }

  /** Whether the server said that it was done; it may yet be undone by what follows. */
  get completed(): boolean {
    return this.commands > this.preface.length;
  }

  /** Which is answered now, or was when the answers ended: a command or statement of the preface, or itself. */
  get current(): string | Statement {
    return this.preface[this.commands] ?? this;
  }

  get isScript(): boolean {
    return this.values === undefined;
  }

  /** What sending it takes, roughly, in characters. */
  get size(): number {
    return (this.values ?? []).reduce((sum, value) => sum + (value?.length ?? 0), this.text.length);
  }

  promise(): Promise<SqlResult> {
    return new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  submit(wire: Wire): null {
    // One that was sent ahead has only its answers to come.
    if (this.sent) return null;
    this.sent = true;
    wire.stream.cork();
    try {
      if (this.isScript) wire.query([...this.commandsBefore(), this.text].join('; '));
      else this.write(wire);
    } finally {
      wire.stream.uncork();
    }
    return null;
  }

  handleRowDescription({ fields }: { readonly fields: readonly Field[] }): void {
    if (this.values === undefined) return;
    const { current } = this;
    if (typeof current === 'string') return;
    const parsers = fields.map(({ dataTypeID }) => parserOf(dataTypeID) ?? current.fallback!(dataTypeID));
    current.columns = current.described = { names: fields.map(({ name }) => name), parsers };
  }

  handleDataRow({ fields }: { readonly fields: readonly (string | null)[] }): void {
    if (this.values === undefined || this.failure !== undefined || this.current !== this) return;
    const { names, parsers } = this.columns;
    const row: Row = {};
    try {
      for (let i = 0; i < fields.length; i++) {
        const text = fields[i]!;
        row[names[i]!] = text === null ? null : parsers[i]!(text);
      }
    } catch (cause) {
      // Thrown here it would end the process.
      this.failure = new StorageError('INTERNAL', 'A value of the result could not be read', { cause });
      return;
    }
    this.rows.push(row);
  }

  handleCommandComplete({ text }: { readonly text: string }): void {
    this.commands++;
    if (!this.overtaken) this.tag = text;
  }

  /** Whether what is answered is the epilogue. */
  private get overtaken(): boolean {
    return this.epilogue.length > 0 && this.commands > this.preface.length + 1;
  }

  handleEmptyQuery(): void {}

  handlePortalSuspended(): void {}

  handleCopyInResponse(wire: Wire): void {
    wire.sendCopyFail('The pool does not copy');
  }

  handleCopyData(): void {}

  /** Told at ReadyForQuery, or when the connection has ended. */
  handleError(error: Error): void {
    this.failure ??= error;
  }

  handleReadyForQuery(): void {
    this.ready = true;
  }

  /** Whether the ReadyForQuery that is there now is its own: a client that a host gave back may still owe one. */
  get answered(): boolean {
    return this.ready || this.failure !== undefined;
  }

  /** The answer is complete. */
  finish(): void {
    const { resolve, failure } = this;
    if (failure !== undefined) return this.fail(failure);
    this.resolve = this.reject = undefined;
    for (const part of this.preface) if (part instanceof Statement) part.keptIn(this.prepared);
    this.keptIn(this.prepared);
    resolve?.({ rows: this.rows, affected: affectedRows(this.tag) });
  }

  /** There will be no answer; what the server had said of it comes first. */
  fail(reason: Error): void {
    const { reject } = this;
    this.resolve = this.reject = undefined;
    reject?.(this.failure ?? reason);
  }

  /** The preface of a script. */
  protected commandsBefore(): string[] {
    return this.preface.filter((part) => typeof part === 'string');
  }

  private keptIn(prepared: Prepared | undefined): void {
    if (this.plan !== undefined) prepared?.set(this.plan, this.described);
  }

  private write(wire: Wire): void {
    for (const part of this.preface)
      if (typeof part === 'string') writeCommand(wire, part);
      else part.writeOwn(wire, this.prepared);
    this.writeOwn(wire, this.prepared);
    for (const text of this.epilogue) writeCommand(wire, text);
    wire.sync();
  }

  private writeOwn(wire: Wire, prepared: Prepared | undefined): void {
    const { plan: name = '', values = [] } = this;
    const known = name !== '' && prepared?.has(name) === true;
    if (known) {
      // A change of the columns would be an error of the server, so they need no new description.
      this.described = prepared.get(name);
      this.columns = this.described ?? NO_COLUMNS;
    } else {
      // What an attempt that failed has left under the name.
      if (name !== '') wire.close({ type: 'S', name });
      wire.parse({ name, text: this.text });
    }
    wire.bind({ statement: name, values });
    if (!known) wire.describe({ type: 'P' });
    wire.execute({});
  }
}

function writeCommand(wire: Wire, text: string): void {
  wire.parse({ name: '', text });
  wire.bind({ statement: '', values: [] });
  wire.execute({});
}
