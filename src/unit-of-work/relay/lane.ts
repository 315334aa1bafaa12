/** One claimed lane: its messages are delivered in order until it is empty, one fails, or the lane is no longer ours. */
import { TimeoutError, StorageError, foreignErrorName, isStorageError } from '../../errors.js';
import type { RecordBackend, Stored, Write, WriteResult } from '../../backends/backend.js';
import { equals, orderBy } from '../../collection/conditions.js';
import { runOperation, type CollectionHost } from '../../collection/host.js';
import type { OperationContext } from '../../component.js';
import type { Timer } from '../../clock.js';
import { KEYS, LANES, MESSAGES, readMessage } from '../outbox/records.js';
import { isDone, later, ownChange, type ClaimedLane } from './claim.js';
import { backoffDelay, type RelaySettings } from './options.js';

export const OUTBOX_TABLES = [KEYS, LANES, MESSAGES];

export class LaneDelivery {
  delivered = 0;
  private readonly backend: RecordBackend;
  private version: number;
  private attempts: number;
  private renewed: number;
  private renewal: Timer | undefined;
  /** Why the lane's delivery ends before it is empty. */
  private ending: 'lost' | 'stopped' | undefined;
  private current: AbortController | undefined;

  constructor(
    private readonly host: CollectionHost,
    private readonly lane: ClaimedLane,
    private readonly settings: RelaySettings,
    private readonly isStopping: () => boolean,
  ) {
    this.backend = host.backend;
    this.version = lane.version;
    this.attempts = lane.attempts;
    this.renewed = host.clock.monotonic();
  }

  async run(): Promise<void> {
    this.renewLater();
    try {
      while (await this.deliverSome());
    } finally {
      this.renewal?.cancel();
      this.renewal = undefined;
    }
  }

  /** Gives up the delivery that runs, and the lease. */
  stop(): void {
    this.ending ??= 'stopped';
    this.current?.abort(new StorageError('ABORTED', 'The relay stops', { operation: 'relay' }));
  }

  /** @returns whether there may be more. */
  private async deliverSome(): Promise<boolean> {
    const { batch } = this.settings;
    // The key before the messages: a message that commits after this gives it another version.
    const [key, messages] = await this.operate(async (context) => {
      const [found] = await this.backend.read(this.lane.scope, [{ collection: KEYS, id: this.lane.keyId }], context);
      const request = {
        collection: MESSAGES,
        filter: equals('lane', this.lane.id),
        sort: orderBy('order', 'number'),
        limit: batch,
      };
      return [found, await this.backend.find(this.lane.scope, request, context)] as const;
    });
    const keyVersion = key?.value['lane'] === this.lane.id ? key.version : undefined;
    if (messages.length === 0) return !(await this.drop(undefined, keyVersion)) && (await this.keep({}));
    for (const [i, message] of messages.entries()) {
      if (this.isStopping()) return this.release();
      const fault = await this.attempt(message);
      if (fault !== undefined) return this.end(message, fault.error);
      this.delivered++;
      const last = i === messages.length - 1 && messages.length < batch;
      if (last && (await this.drop(message, keyVersion))) return false;
      if (!(await this.keep({ delivered: message }))) return false;
    }
    return true;
  }

  /** The fault of the delivery, if it has one. */
  private async attempt(message: Stored): Promise<{ readonly error: unknown } | undefined> {
    const { clock } = this.host;
    const { maxAttempts, timeout, handlers } = this.settings;
    if (this.attempts > maxAttempts)
      return { error: new StorageError('ABORTED', 'The process ended, or lost its lease, during the delivery') };
    const abort = (this.current = new AbortController());
    const timer = clock.after(timeout, () =>
      abort.abort(new TimeoutError(`The handler took longer than ${timeout} ms`, { operation: 'relay' })),
    );
    try {
      const context = { signal: abort.signal, attempt: this.attempts, token: this.lane.token };
      const given = new Promise<never>((_resolve, reject) => {
        abort.signal.addEventListener('abort', () => reject(abort.signal.reason as Error), { once: true });
      });
      const handled = (async () => handlers.get(this.lane.topic)!(readMessage(message), context))();
      await Promise.race([handled, given]);
      return undefined;
    } catch (error) {
      return { error };
    } finally {
      timer.cancel();
      this.current = undefined;
    }
  }

  /** After a delivery that did not succeed. @returns whether the lane is to be gone on with. */
  private end(message: Stored, error: unknown): Promise<boolean> | boolean {
    if (this.ending === 'lost') return false;
    return this.ending === 'stopped' ? this.release() : this.fail(message, error);
  }

  private async fail(message: Stored, error: unknown): Promise<boolean> {
    const { maxAttempts, backoff, onFailure } = this.settings;
    const attempt = this.attempts;
    const dead = attempt >= maxAttempts;
    const text = isStorageError(error) ? `${error.code}: ${error.message}` : foreignErrorName(error);
    const results = await this.operate((context) => {
      const noted = { attempts: attempt, error: text.slice(0, 1_000) };
      const set = dead ? { ...noted, deadAt: context.now.toISOString() } : noted;
      const lane = dead
        ? { set: { attempts: 0 }, unset: ['dueAt'] }
        : { set: { dueAt: later(context, backoffDelay(backoff, attempt)) } };
      const note: Write = { collection: MESSAGES, id: message.id, kind: 'patch', changes: { set } };
      return this.backend.write(this.lane.scope, [note, ownChange(this.lane, lane)], context);
    });
    // The message was discarded meanwhile: the lane goes on with the next one.
    if (results[0]!.status === 'missing') return this.keep({});
    if (results.every(isDone)) onFailure({ message: readMessage(message), error, attempt, dead });
    return false;
  }

  /** Deletes the lane with its last message, unless another message has come. @returns whether it is gone. */
  private async drop(message: Stored | undefined, keyVersion: number | undefined): Promise<boolean> {
    const writes: Write[] = [{ collection: LANES, id: this.lane.id, kind: 'delete', ifVersion: this.version }];
    if (keyVersion !== undefined)
      writes.push({ collection: KEYS, id: this.lane.keyId, kind: 'delete', ifVersion: keyVersion });
    if (message !== undefined) writes.push({ collection: MESSAGES, id: message.id, kind: 'delete' });
    return (await this.write(writes)).every(isDone);
  }

  /** Deletes a delivered message and keeps the lane for the next one. @returns whether the lane is still ours. */
  private async keep({ delivered }: { readonly delivered?: Stored }): Promise<boolean> {
    const results = await this.operate((context) => {
      const own = ownChange(this.lane, { set: { dueAt: later(context, this.settings.lease), attempts: 1 } });
      const gone = delivered && ({ collection: MESSAGES, id: delivered.id, kind: 'delete' } as const);
      return this.backend.write(this.lane.scope, gone === undefined ? [own] : [own, gone], context);
    });
    // Discarded while it was delivered.
    if (results[1]?.status === 'missing' && results[0]!.status === 'skipped') return this.keep({});
    this.attempts = 1;
    return this.owns(results[0]!);
  }

  /** Lets another relay go on at once; a delivery that was not begun, or given up by us, is not counted. */
  private async release(): Promise<boolean> {
    await this.operate((context) => {
      const set = { dueAt: context.now.toISOString(), attempts: this.attempts - 1 };
      return this.backend.write(this.lane.scope, [ownChange(this.lane, { set })], context);
    });
    return false;
  }

  private owns(result: WriteResult): boolean {
    if (result.status !== 'patched') {
      this.ending ??= 'lost';
      this.current?.abort(new StorageError('ABORTED', 'The lease is lost: another relay has the key'));
      return false;
    }
    this.version = result.record.version;
    this.renewed = this.host.clock.monotonic();
    return true;
  }

  private renewLater(): void {
    this.renewal = this.host.clock.after(this.settings.lease / 3, () => void this.renew(), { background: true });
  }

  private async renew(): Promise<void> {
    const { lease } = this.settings;
    try {
      const [result] = await this.operate((context) =>
        this.backend.write(this.lane.scope, [ownChange(this.lane, { set: { dueAt: later(context, lease) } })], context),
      );
      // It may have ended meanwhile, by its own hand.
      if (this.renewal !== undefined) this.owns(result!);
    } catch {
      if (this.host.clock.monotonic() - this.renewed >= lease) this.owns({ status: 'missing' });
    }
    if (this.renewal !== undefined && this.ending === undefined) this.renewLater();
  }

  private write(writes: readonly Write[]): Promise<WriteResult[]> {
    return this.operate((context) => this.backend.write(this.lane.scope, writes, context));
  }

  private operate<R>(work: (context: OperationContext) => Promise<R>): Promise<R> {
    return runOperation(this.host, OUTBOX_TABLES, 'relay', { timeout: this.settings.lease }, work);
  }
}
