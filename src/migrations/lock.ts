/**
 * The lock that lets one process migrate at a time. Two records: `lock` names the holder by a fencing token, and every
 * step writes it in its own transaction, so that a holder that was given up cannot commit; `beat` says until when the
 * holder counts as alive, and is renewed outside of the steps, which it must not conflict with. It is none of `Locks`: a
 * step that holds up the renewals beyond the lease (on SQLite, PGlite) has lost nothing unless another took the lock over.
 */
import type { RecordBackend, RecordKey, Write } from '../backends/backend.js';
import { equals } from '../collection/conditions.js';
import { COUNTERS, takeNumbers } from '../collection/counters.js';
import { LIBRARY } from '../collection/library.js';
import { runOperation, type CollectionHost } from '../collection/host.js';
import type { Timer } from '../clock.js';
import type { OperationContext } from '../component.js';
import { StorageError } from '../errors.js';
import type { Attempt } from '../unit-of-work/attempt.js';
import { hasOneWriter, type Patience } from './patience.js';
import { MIGRATIONS } from './records.js';

/** The records of the database under the reserved tenant, and transactions on it. */
export interface MigrationHost<Tx> {
  readonly records: CollectionHost;
  transaction<R>(
    work: (tx: Tx, attempt: Attempt) => Promise<R>,
    options: { readonly timeout?: number; readonly signal?: AbortSignal },
  ): Promise<R>;
  /** Told of what no caller waits for. */
  readonly report: (error: StorageError) => void;
}

/** Milliseconds that a holder counts as alive without a sign of it. */
const LEASE = 30_000;

export const LOCK_TABLES = [MIGRATIONS, COUNTERS];
const LOCK: RecordKey = { collection: MIGRATIONS, id: 'lock' };
const BEAT: RecordKey = { collection: MIGRATIONS, id: 'beat' };
const COUNTER = 'fence:migrations';

export class MigrationLock {
  private timer: Timer | undefined;
  private released = false;

  private constructor(
    private readonly host: CollectionHost,
    private readonly token: number,
    private readonly report: (error: StorageError) => void,
    private readonly onEnd: () => void,
  ) {
    this.beatLater();
  }

  /** Waits for the lock. @throws `TIMEOUT` when another process holds it for longer than the patience. */
  static async acquire<Tx>(host: MigrationHost<Tx>, patience: Patience, signal?: AbortSignal): Promise<MigrationLock> {
    const { records } = host;
    const options = signal === undefined ? {} : { signal };
    await patience.run(() => runOperation(records, LOCK_TABLES, 'migrate', options, async () => undefined));
    for (;;) {
      // In flight for as long as the lock is held, so that a close waits until it is given back.
      const { end } = records.begin('migrate', options);
      let token: number | undefined;
      try {
        const taking = (): Promise<number | undefined> =>
          host.transaction((_tx, attempt) => take(records.backend, attempt.context('migrate')), options);
        token = await patience.run(taking, true);
      } finally {
        if (token === undefined) end();
      }
      if (token !== undefined) return new MigrationLock(records, token, host.report, end);
      await patience.pause();
    }
  }

  /** Part of a step's transaction: it cannot commit once another process has the lock. @throws `MIGRATION` */
  async hold(context: OperationContext): Promise<void> {
    const write: Write = {
      ...LOCK,
      kind: 'patch',
      changes: { increment: { held: 1 } },
      if: equals('token', this.token),
    };
    const [result] = await this.host.backend.write(LIBRARY, [write], context);
    if (result?.status !== 'patched')
      throw new StorageError('MIGRATION', 'Another process took the migration lock over: the lease was not renewed', {
        component: this.host.backend.name,
        operation: 'migrate',
        details: { reason: 'lock-lost' },
      });
  }

  /**
   * The end of a step's transaction. One that kept the signs of life out gives one itself, or whoever waited for it would
   * take the lock over as soon as it commits. With other writers about it would conflict with the renewals beside it.
   */
  async renew(context: OperationContext): Promise<void> {
    if (!hasOneWriter(this.host)) return;
    await this.host.backend.write(LIBRARY, [this.beatWrite({ until: leaseEnd(context.now) })], context);
  }

  async release(): Promise<void> {
    this.released = true;
    this.timer?.cancel();
    // What has run has run: the lease ends by itself, and until then others wait.
    await this.writeBeat((now) => ({ token: 0, until: now.toISOString() })).catch((cause: unknown) =>
      this.report(
        new StorageError('MIGRATION', `The migration lock was not given back: it is held for up to ${LEASE} ms more`, {
          component: this.host.backend.name,
          operation: 'migrate',
          details: { reason: 'lock-kept' },
          cause,
        }),
      ),
    );
    this.onEnd();
  }

  private beatLater(): void {
    this.timer = this.host.clock.after(LEASE / 3, () => void this.beat(), { background: true });
  }

  private async beat(): Promise<void> {
    // A beat that fails is tried again; whether the lock is still held is decided by the step's transaction.
    await this.writeBeat((now) => ({ until: leaseEnd(now) })).catch(() => undefined);
    if (!this.released) this.beatLater();
  }

  /** Not admitted as an operation: the lock is, and gives its signs of life while the manager closes, too. */
  private async writeBeat(change: (now: Date) => Record<string, string | number>): Promise<void> {
    const { backend, clock } = this.host;
    const context = { now: clock.now(), deadline: clock.monotonic() + LEASE };
    await backend.write(LIBRARY, [this.beatWrite(change(context.now))], context);
  }

  private beatWrite(set: Record<string, string | number>): Write {
    return { ...BEAT, kind: 'patch', changes: { set }, if: equals('token', this.token) };
  }
}

/** The token of the new holder; `undefined` while another one is alive. */
async function take(backend: RecordBackend, context: OperationContext): Promise<number | undefined> {
  const [beat] = await backend.read(LIBRARY, [BEAT], context);
  if (beat !== undefined && (beat.value['until'] as string) > context.now.toISOString()) return undefined;
  const token = await takeNumbers(backend, LIBRARY, COUNTER, 1, context);
  const until = leaseEnd(context.now);
  await backend.write(
    LIBRARY,
    [
      { ...LOCK, kind: 'put', value: { kind: 'lock', token, held: 0 } },
      { ...BEAT, kind: 'put', value: { kind: 'beat', token, until } },
    ],
    context,
  );
  return token;
}

function leaseEnd(now: Date): string {
  return new Date(now.getTime() + LEASE).toISOString();
}
