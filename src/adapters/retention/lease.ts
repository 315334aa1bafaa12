/**
 * The lease that lets one process at a time work a database: one record under the reserved tenant. It saves work, no more:
 * the steps of two holders would each be whole, and find what the other left.
 */
import { randomUUID } from 'node:crypto';
import type { RecordSchema, Write, WriteResult } from '../../backends/backend.js';
import type { Timer } from '../../clock.js';
import { all, compares, equals } from '../../collection/conditions.js';
import { runOperation, type CollectionHost } from '../../collection/host.js';
import { LIBRARY } from '../../collection/library.js';
import type { OperationContext } from '../../component.js';

export const RETENTION: RecordSchema = {
  name: 'qm_retention',
  fields: new Map([
    ['holder', { type: 'string', maxBytes: 36 }],
    ['until', { type: 'date', maxBytes: 0 }],
  ]),
  indexes: [],
  unique: [],
  text: [],
};

/** Milliseconds that a holder counts as alive without a sign of it. */
export const LEASE = 60_000;
const ID = 'lease';

export class RetentionLease {
  private timer: Timer | undefined;
  private released = false;

  private constructor(
    private readonly host: CollectionHost,
    private readonly holder: string,
    /** By the monotonic clock: when another may have it. */
    private end: number,
    private readonly onLost: () => void,
  ) {
    this.renewLater();
  }

  /**
   * `undefined` while another holds it.
   * @param onLost called when it was not renewed in time: another may work
   */
  static async take(host: CollectionHost, onLost: () => void): Promise<RetentionLease | undefined> {
    const holder = randomUUID();
    const end = host.clock.monotonic() + LEASE;
    const [result] = await runOperation(host, [RETENTION], 'retain', undefined, (context) => {
      const value = { holder, until: until(context) };
      return host.backend.write(
        LIBRARY,
        [
          {
            collection: RETENTION,
            id: ID,
            kind: 'patch',
            changes: { set: value },
            if: all(compares('until', 'lte', context.now)),
            orInsert: value,
          },
        ],
        context,
      );
    });
    return result?.status === 'patched' ? new RetentionLease(host, holder, end, onLost) : undefined;
  }

  async release(): Promise<void> {
    this.released = true;
    this.timer?.cancel();
    // No holder, so that a renewal which is on its way does not take it back. Should it fail, the lease ends by itself.
    await this.change(() => ({ holder: '', until: new Date(0).toISOString() })).catch(() => undefined);
  }

  private renewLater(): void {
    this.timer = this.host.clock.after(LEASE / 3, () => void this.renew(), { background: true });
  }

  private async renew(): Promise<void> {
    const { clock } = this.host;
    const begun = clock.monotonic();
    const result = await this.change((context) => ({ until: until(context) })).catch(() => undefined);
    if (this.released) return;
    if (result?.status === 'patched') this.end = begun + LEASE;
    // A renewal that failed is tried again while the lease lasts.
    if ((result !== undefined && result.status !== 'patched') || clock.monotonic() >= this.end) this.onLost();
    else this.renewLater();
  }

  /** Not admitted as an operation: the run that holds the lease is, and gives it back while the manager closes. */
  private async change(set: (context: OperationContext) => Record<string, string>): Promise<WriteResult | undefined> {
    const { backend, clock } = this.host;
    const context = { now: clock.now(), deadline: clock.monotonic() + LEASE / 3 };
    const write: Write = {
      collection: RETENTION,
      id: ID,
      kind: 'patch',
      changes: { set: set(context) },
      if: equals('holder', this.holder),
    };
    return (await backend.write(LIBRARY, [write], context))[0];
  }
}

function until({ now }: OperationContext): string {
  return new Date(now.getTime() + LEASE).toISOString();
}
