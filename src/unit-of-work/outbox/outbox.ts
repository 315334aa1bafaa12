/** `storage.outbox`: the delivery of what transactions have left, and what could not be delivered. */
import type { Stored, Write } from '../../backends/backend.js';
import { checkId, checkTenant } from '../../backends/value.js';
import { orderBy, present } from '../../collection/conditions.js';
import { runOperation, type CollectionHost } from '../../collection/host.js';
import type { CallOptions } from '../../component.js';
import { invalid, NotFoundError, UnsupportedError } from '../../errors.js';
import type { SortKey } from '../../filter/cursor.js';
import type { FilterNode } from '../../filter/syntax.js';
import { Relay } from '../relay.js';
import { OUTBOX_TABLES } from '../relay/lane.js';
import { checkRelayOptions, type RelayOptions } from '../relay/options.js';
import { LANES, MESSAGES, readMessage, type OutboxMessage } from './records.js';
import { wake } from './wake.js';

export interface DeadLetter extends OutboxMessage {
  readonly deadAt: Date;
  readonly attempts: number;
  /** The last fault: a StorageError's code and message, else the error's code or name. */
  readonly error: string;
}

export interface OutboxOptions extends CallOptions {
  /** The database. Default: `stores.default`. */
  readonly on?: string | undefined;
}

export interface OutboxBacklog {
  /** Messages that are neither delivered nor dead letters; those behind a dead letter among them. */
  readonly waiting: number;
  readonly dead: number;
  /** When the oldest of those waiting was left. Absent where none waits. */
  readonly oldest?: Date;
}

const BY_AGE: readonly SortKey[] = [
  { source: 'envelope', path: ['createdAt'], type: 'date', direction: 'asc' },
  { source: 'envelope', path: ['id'], type: 'string', direction: 'asc' },
];

type Named = Pick<OutboxMessage, 'tenant' | 'id'>;

export class Outbox {
  constructor(
    private readonly hostOf: (on: string | undefined) => CollectionHost,
    private readonly onClosing: (listener: () => void) => () => void,
  ) {}

  /**
   * Begins to deliver, of every tenant, until its `stop`. Any number of relays and processes may.
   * @throws `VALIDATION` for malformed options, `UNSUPPORTED` where the database has no transactions.
   */
  relay(options: RelayOptions): Relay {
    const settings = checkRelayOptions(options);
    return new Relay(this.host(options.on), settings, this.onClosing);
  }

  /** What waits to be delivered, of every tenant: read from the table, for a gauge that is asked every minute or so. */
  async backlog(options: OutboxOptions = {}): Promise<OutboxBacklog> {
    const host = this.host(options.on);
    const isDead = present('deadAt', 'date');
    const alive: FilterNode = { op: 'not', node: isDead };
    return runOperation(host, OUTBOX_TABLES, 'backlog', options, async (context) => {
      const { backend } = host;
      const dead = await backend.count('all', { collection: MESSAGES, filter: isDead }, context);
      const waiting = await backend.count('all', { collection: MESSAGES, filter: alive }, context);
      const first = { collection: MESSAGES, filter: alive, sort: BY_AGE, limit: 1 };
      const [oldest] = await backend.find('all', first, context);
      return oldest === undefined ? { waiting, dead } : { waiting, dead, oldest: oldest.createdAt };
    });
  }

  /** What could not be delivered, of every tenant, the oldest first; up to `limit` (default 100, at most 1,000). */
  async deadLetters(options: OutboxOptions & { readonly limit?: number } = {}): Promise<DeadLetter[]> {
    const { limit = 100 } = options;
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > 1_000)
      throw invalid('limit', limit, 'a whole number from 1 to 1000');
    const host = this.host(options.on);
    const request = {
      collection: MESSAGES,
      filter: present('deadAt', 'date'),
      sort: orderBy('deadAt', 'date'),
      limit,
    };
    const found = await runOperation(host, OUTBOX_TABLES, 'deadLetters', options, (context) =>
      host.backend.find('all', request, context),
    );
    return found.map((record) => ({
      ...readMessage(record),
      deadAt: new Date(record.value['deadAt'] as string),
      attempts: record.value['attempts'] as number,
      error: record.value['error'] as string,
    }));
  }

  /** Delivers a dead letter anew, with all its attempts before it; its key goes on. @throws `NOT_FOUND` */
  async retry(letter: Named, options: OutboxOptions = {}): Promise<void> {
    await this.decide(letter, 'retry', options, ({ id, version }) => ({
      collection: MESSAGES,
      id,
      kind: 'patch',
      changes: { unset: ['deadAt'] },
      ifVersion: version,
    }));
  }

  /** Deletes a dead letter undelivered; its key goes on with the message after it. @throws `NOT_FOUND` */
  async discard(letter: Named, options: OutboxOptions = {}): Promise<void> {
    await this.decide(letter, 'discard', options, ({ id, version }) => ({
      collection: MESSAGES,
      id,
      kind: 'delete',
      ifVersion: version,
    }));
  }

  private async decide(
    letter: Named,
    operation: string,
    options: OutboxOptions,
    change: (record: Stored) => Write,
  ): Promise<void> {
    const scope = { tenant: checkTenant(letter.tenant) };
    const id = checkId(letter.id);
    const host = this.host(options.on);
    const isDone = await runOperation(host, OUTBOX_TABLES, operation, options, async (context) => {
      const [record] = await host.backend.read(scope, [{ collection: MESSAGES, id }], context);
      if (record?.value['deadAt'] === undefined) return false;
      const lane: Write = {
        collection: LANES,
        id: record.value['lane'] as string,
        kind: 'patch',
        changes: { set: { dueAt: context.now.toISOString(), attempts: 0 } },
      };
      const results = await host.backend.write(scope, [change(record), lane], context);
      return results.every(({ status }) => status === 'patched' || status === 'deleted');
    });
    if (!isDone)
      throw new NotFoundError(`outbox: no dead letter ${JSON.stringify(id)} is there`, {
        operation,
        details: { tenant: scope.tenant, id },
      });
    wake(host.backend);
  }

  private host(on: string | undefined): CollectionHost {
    const host = this.hostOf(on);
    const { transactions, batch } = host.backend.capabilities;
    if (transactions === 'none' || batch !== 'atomic')
      throw new UnsupportedError(`${host.backend.name} has no transactions, and so no outbox`, { operation: 'outbox' });
    return host;
  }
}
