/**
 * The memory engine: tables of rows in this process, with serializable sessions. Sessions run side by side: each reads the
 * state at its beginning, keeps its writes to itself, and is refused at its commit when a commit since then changed what it
 * read. There is no lock, so that schedules can be explored: `seed` gives every operation a reproducible number of turns to
 * wait. It is the specification that the other pools are held to, and it keeps nothing when the process ends.
 */
import type { Clock } from '../clock.js';
import type { CheckResult, OperationContext, Session } from '../component.js';
import { serializationFailure, StorageError } from '../errors.js';
import { LocalSession } from './local-session.js';
import { answeredInTurn } from './loop-turn.js';
import { boundsExceeded } from './slot.js';
import type { Pool, PoolDriver, PoolEnvironment, PoolFigures, TransactionOptions } from './pool.js';
import { withSavepoint } from './savepoint.js';

type Row = object;
type Matches = (row: Row) => boolean;

/** What one operation sees and does; it lives for the operation's one turn. */
export interface MemoryView {
  /** The names of tables that were written to. */
  tables(): string[];
  get(table: string, partition: string, key: string): Row | undefined;
  /** Matching rows of a partition, or of all. What matches is what the operation has read. */
  scan(table: string, partition: string | undefined, matches: Matches): Row[];
  /** `undefined` removes. Rows must not be changed afterwards. */
  put(table: string, partition: string, key: string, row: Row | undefined): void;
}

interface Version {
  readonly commit: number;
  readonly row: Row | undefined;
}

interface Change {
  readonly commit: number;
  readonly table: string;
  readonly partition: string;
  readonly key: string;
  readonly before: Row | undefined;
  readonly after: Row | undefined;
}

/** What was read and written since a beginning, and is not yet applied. */
class Work {
  readonly reads = new Set<string>();
  readonly scans: { table: string; partition: string | undefined; matches: Matches }[] = [];
  writes = new Map<string, { table: string; partition: string; key: string; row: Row | undefined }>();

  /** @param start the last commit that it sees. */
  constructor(readonly start: number) {}
}

class MemorySession extends LocalSession {
  constructor(
    pool: MemoryPool,
    readonly work: Work,
    bounds: OperationContext,
    clock: Clock,
  ) {
    super(pool, bounds, clock);
  }
}

// Tables, partitions and keys hold no control characters, so this joins them without ambiguity.
const address = (table: string, partition: string, key: string): string => `${table}\u001f${partition}\u001f${key}`;

export class MemoryPool implements Pool {
  readonly name: string;
  private readonly clock: Clock;
  private readonly nextTurns: () => number;
  private readonly answered: <R>(answer: Promise<R>) => Promise<R>;
  private readonly tables = new Map<string, Map<string, Map<string, Version[]>>>();
  private readonly sessions = new Set<MemorySession>();
  private log: Change[] = [];
  private commits = 0;
  private isOpen = false;

  constructor(environment: PoolEnvironment, seed: number | null) {
    this.name = environment.name;
    this.clock = environment.clock;
    this.nextTurns = seed === null ? () => 0 : turns(seed);
    // A schedule that is to be the same again knows no time.
    this.answered = seed === null ? answeredInTurn : (answer) => answer;
  }

  async open(): Promise<void> {
    this.isOpen = true;
  }

  async check(): Promise<CheckResult> {
    return { status: this.isOpen ? 'healthy' : 'unhealthy', details: { ...this.figures() } };
  }

  async close(): Promise<void> {
    this.isOpen = false;
    const closed = new StorageError('CLOSED', 'The pool was closed during the transaction', { component: this.name });
    for (const session of this.sessions) {
      session.cut(closed);
      // One whose work is done, and is about to commit, is not cut any more.
      session.end();
    }
  }

  figures(): PoolFigures {
    return { size: this.sessions.size, idle: 0, waiting: 0, max: Number.MAX_SAFE_INTEGER };
  }

  /** Runs one operation in one turn of the event loop: all of it or, when it throws, nothing. */
  run<R>(context: OperationContext, operation: (view: MemoryView) => R): Promise<R> {
    return this.answered(this.runOnce(context, operation));
  }

  private async runOnce<R>(context: OperationContext, operation: (view: MemoryView) => R): Promise<R> {
    for (let turn = this.nextTurns(); turn > 0; turn--) await Promise.resolve();
    this.checkUsable(context);
    if (context.session !== undefined) return operation(this.view(this.own(context.session, context).work));
    const once = new Work(this.commits);
    const result = operation(this.view(once));
    this.apply(once);
    return result;
  }

  async transaction<R>({ context }: TransactionOptions, work: (session: Session) => Promise<R>): Promise<R> {
    this.checkUsable(context);
    const session = new MemorySession(this, new Work(this.commits), context, this.clock);
    this.sessions.add(session);
    try {
      const result = await session.run(work);
      for (let turn = this.nextTurns(); turn > 0; turn--) await Promise.resolve();
      const refusal = session.refusal();
      if (refusal !== undefined) throw refusal;
      if (session.work.writes.size > 0 && this.conflicts(session.work)) throw serializationFailure(this.name);
      this.apply(session.work);
      return result;
    } finally {
      session.end();
      this.sessions.delete(session);
      this.forget();
    }
  }

  async savepoint<R>(session: Session, work: () => Promise<R>): Promise<R> {
    const own = this.own(session);
    const writes = new Map(own.work.writes);
    // What was read stays read: what the function did next may rest on it.
    const undo = (): void => void (own.work.writes = writes);
    return withSavepoint(own, () => ({ release: () => undefined, undo }), work);
  }

  private checkUsable(context: OperationContext): void {
    if (!this.isOpen) throw new StorageError('CLOSED', `The pool ${this.name} is not open`, { component: this.name });
    const over = boundsExceeded(context, this.clock.monotonic(), this.name);
    if (over !== undefined) throw over;
  }

  private own(session: Session, context?: OperationContext): MemorySession {
    if (!(session instanceof MemorySession) || session.pool !== this)
      throw new StorageError('VALIDATION', 'The session belongs to another pool', { component: this.name });
    const refusal = context === undefined ? session.refusal() : session.admit(context);
    if (refusal !== undefined) throw refusal;
    return session;
  }

  private view(work: Work): MemoryView {
    return {
      tables: () => [...this.tables.keys()],
      get: (table, partition, key) => {
        const at = address(table, partition, key);
        work.reads.add(at);
        const own = work.writes.get(at);
        return own === undefined ? this.rowAt(this.tables.get(table)?.get(partition)?.get(key), work.start) : own.row;
      },
      scan: (table, partition, matches) => {
        work.scans.push({ table, partition, matches });
        return this.scan(work, table, partition, matches);
      },
      put: (table, partition, key, row) => {
        work.writes.set(address(table, partition, key), { table, partition, key, row });
      },
    };
  }

  private scan(work: Work, table: string, partition: string | undefined, matches: Matches): Row[] {
    const rows: Row[] = [];
    for (const [name, keys] of this.tables.get(table) ?? []) {
      if (partition !== undefined && name !== partition) continue;
      for (const [key, versions] of keys) {
        if (work.writes.has(address(table, name, key))) continue;
        const row = this.rowAt(versions, work.start);
        if (row !== undefined && matches(row)) rows.push(row);
      }
    }
    for (const write of work.writes.values())
      if (write.table === table && (partition === undefined || write.partition === partition))
        if (write.row !== undefined && matches(write.row)) rows.push(write.row);
    return rows;
  }

  private rowAt(versions: readonly Version[] | undefined, commit: number): Row | undefined {
    return versions?.findLast((version) => version.commit <= commit)?.row;
  }

  private conflicts(work: Work): boolean {
    return this.log.some((change) => {
      if (change.commit <= work.start) return false;
      const at = address(change.table, change.partition, change.key);
      if (work.reads.has(at) || work.writes.has(at)) return true;
      return work.scans.some(
        (scan) =>
          scan.table === change.table &&
          (scan.partition === undefined || scan.partition === change.partition) &&
          ((change.before !== undefined && scan.matches(change.before)) ||
            (change.after !== undefined && scan.matches(change.after))),
      );
    });
  }

  private apply(work: Work): void {
    if (work.writes.size === 0) return;
    const commit = ++this.commits;
    for (const { table, partition, key, row } of work.writes.values()) {
      const partitions = getOrAdd(this.tables, table, () => new Map<string, Map<string, Version[]>>());
      const versions = getOrAdd(
        getOrAdd(partitions, partition, () => new Map<string, Version[]>()),
        key,
        () => [],
      );
      this.log.push({ commit, table, partition, key, before: versions.at(-1)?.row, after: row });
      versions.push({ commit, row });
    }
    if (this.sessions.size === 0) this.forget();
  }

  /** Drops the versions and the log that no running session can see. */
  private forget(): void {
    const oldest = Math.min(this.commits, ...[...this.sessions].map((session) => session.work.start));
    const kept = this.log.findIndex((change) => change.commit > oldest);
    const dropped = kept === -1 ? this.log : this.log.slice(0, kept);
    this.log = kept === -1 ? [] : this.log.slice(kept);
    for (const { table, partition, key } of dropped) {
      const keys = this.tables.get(table)?.get(partition);
      const versions = keys?.get(key);
      if (keys === undefined || versions === undefined) continue;
      versions.splice(
        0,
        versions.findLastIndex((version) => version.commit <= oldest),
      );
      if (versions.length === 1 && versions[0]!.row === undefined) keys.delete(key);
    }
  }
}

function getOrAdd<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

/** How many turns each operation waits: 0 to 3, the same sequence for the same seed (mulberry32). */
function turns(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % 4;
  };
}

export const memory: PoolDriver<MemoryPool> = {
  name: 'memory',
  schemes: ['memory'],
  backend: 'memory',
  vectors: 'memory',
  settings: {
    seed: { doc: 'Makes the order of concurrent operations reproducible: for tests.', format: 'nat', default: null },
  },
  checkUrl: (url) => (url === 'memory:' ? undefined : 'expected memory: and nothing behind it'),
  key: (_url, _options, name) => `memory:${name}`,
  create: (_url, options, environment) => new MemoryPool(environment, options['seed'] as number | null),
  tests: [{ name: 'memory', url: 'memory:' }],
};
