/** `storage.outbox`: the delivery of what transactions have left, and what could not be delivered. */
import type { Stored, Write } from '../../backends/backend.js';
import { checkId, checkTenant } from '../../backends/value.js';
import { all, equals } from '../../collection/conditions.js';
import { runOperation, type CollectionHost } from '../../collection/host.js';
import { checkLimit, fetchPage, type Page } from '../../collection/page.js';
import type { BeginLoop, CallOptions, OperationContext } from '../../component.js';
import { checkKnown, invalid, isStorageError, NotFoundError, UnsupportedError } from '../../errors.js';
import { Handle } from '../../handle.js';
import { decodeCursor, queryHash } from '../../filter/cursor.js';
import { ALL } from '../../filter/syntax.js';
import { Relay } from '../relay.js';
import type { Report } from '../ongoing-fault.js';
import { checkRelayOptions, type RelayOptions } from '../relay/options.js';
import { BY_AGE, DEAD, readBacklog, WAITING, type OutboxBacklog } from './backlog.js';
import { removal } from './idempotency.js';
import {
  checkOwnTopic,
  checkTopic,
  LANES,
  MESSAGES,
  OUTBOX_TABLES,
  readMessage,
  type OutboxMessage,
} from './records.js';
import { wake } from './wake.js';

/** A message that is not delivered yet. */
export interface PendingMessage extends OutboxMessage {
  /** `dead`: not delivered any more, until `retry` or `drop`. Those behind it in its key are `waiting`. */
  readonly state: MessageState;
  /** Deliveries that failed. */
  readonly attempts: number;
  /** The last fault: a StorageError's code and message, else the error's code or name. */
  readonly error?: string;
  readonly deadAt?: Date;
}

export type MessageState = 'waiting' | 'dead';

export interface OutboxOptions extends CallOptions {
  /** The database. Default: `stores.default`. */
  readonly on?: string | undefined;
}

export interface OutboxSelection extends OutboxOptions {
  /** Default: of every topic. */
  readonly topic?: string | undefined;
  /** Default: of every tenant. */
  readonly tenant?: string | undefined;
}

export interface OutboxListOptions extends OutboxSelection {
  /** Default: both, those waiting first. */
  readonly state?: MessageState | undefined;
  /** 1 to 1,000; default 50. */
  readonly limit?: number | undefined;
  /** A page's `next` or `previous`, of the same list. */
  readonly after?: string | undefined;
}

type Named = Pick<OutboxMessage, 'tenant' | 'id'>;

const OPTIONS = ['on', 'signal', 'timeout'];
const SELECTION = [...OPTIONS, 'topic', 'tenant'];
const KEYS = {
  options: new Set(OPTIONS),
  selection: new Set(SELECTION),
  list: new Set([...SELECTION, 'state', 'limit', 'after']),
};

export class Outbox extends Handle {
  constructor(
    private readonly hostOf: (on: string | undefined) => CollectionHost,
    private readonly beginLoop: BeginLoop,
    private readonly report: Report,
  ) {
    super();
  }

  toJSON(): Record<string, unknown> {
    return {};
  }

  /**
   * Begins to deliver, of every tenant, until its `stop`. Any number of relays and processes may. With `Payloads`, an interface of
   * what messages carry by topic, handlers know theirs; nothing checks at run time that it is so.
   * @throws `VALIDATION` for malformed options, `UNSUPPORTED` where the database has no transactions.
   */
  relay(options: RelayOptions): Relay;
  relay<Payloads>(options: RelayOptions<Payloads>): Relay;
  relay(options: RelayOptions): Relay {
    const settings = checkRelayOptions(options, this.report);
    for (const topic of settings.handlers.keys()) checkOwnTopic(topic, `relay.handlers.${topic}`);
    return new Relay(this.host(options.on), settings, this.beginLoop);
  }

  /** What waits to be delivered, of every tenant: read from the table, for a gauge that is asked every minute or so. */
  async backlog(options: OutboxOptions = {}): Promise<OutboxBacklog> {
    checkKnown(options, KEYS.options);
    const host = this.host(options.on);
    return runOperation(host, OUTBOX_TABLES, 'backlog', options, (context) => readBacklog(host.backend, context));
  }

  /** One page of what is not delivered yet: the oldest messages first, after them the dead letters, by when they became it. */
  async list(options: OutboxListOptions = {}): Promise<Page<PendingMessage>> {
    checkKnown(options, KEYS.list);
    const { state, topic, tenant, after } = options;
    if (state !== undefined && state !== 'waiting' && state !== 'dead')
      throw invalid('state', state, "'waiting' or 'dead'");
    const parts = [
      ...(state === undefined ? [] : [state === 'dead' ? DEAD : WAITING]),
      ...(topic === undefined ? [] : [equals('topic', checkTopic(topic, 'topic'))]),
    ];
    const filter = parts.length === 0 ? ALL : all(...parts);
    const limit = checkLimit(options.limit, 50);
    const scope = tenant === undefined ? 'all' : { tenant: checkTenant(tenant) };
    const hash = (): string => queryHash(MESSAGES.name, tenant ?? '', BY_AGE, filter);
    const cursor = after === undefined ? undefined : decodeCursor(after, BY_AGE, hash());
    const plan = { filter, sort: BY_AGE, limit, cursor, hash };
    const host = this.host(options.on);
    return runOperation(host, OUTBOX_TABLES, 'list', options, (context) =>
      fetchPage(host.backend, MESSAGES, scope, plan, readPending, context),
    );
  }

  /** Delivers a dead letter anew, with all its attempts before it; its key goes on. @throws `NOT_FOUND` */
  async retry(letter: Named, options: OutboxOptions = {}): Promise<void> {
    await this.decide(letter, 'retry', options, ({ id, version }) => [
      { collection: MESSAGES, id, kind: 'patch', changes: { unset: ['deadAt'] }, ifVersion: version },
    ]);
  }

  /** Deletes a dead letter undelivered; its key goes on with the message after it. @throws `NOT_FOUND` */
  async drop(letter: Named, options: OutboxOptions = {}): Promise<void> {
    await this.decide(letter, 'drop', options, removal);
  }

  /** `retry` for every letter that is dead now. @returns how many @throws `VALIDATION`, before any is met */
  retryAll(options: OutboxSelection = {}): Promise<number> {
    return this.forAll(options, (letter, call) => this.retry(letter, call));
  }

  /** `drop` for every letter that is dead now. @returns how many @throws as `retryAll` */
  dropAll(options: OutboxSelection = {}): Promise<number> {
    return this.forAll(options, (letter, call) => this.drop(letter, call));
  }

  private async forAll(
    options: OutboxSelection,
    each: (letter: PendingMessage, options: OutboxOptions) => Promise<void>,
  ): Promise<number> {
    // A misspelt topic or tenant would select every one.
    checkKnown(options, KEYS.selection);
    const { topic: _topic, tenant: _tenant, ...call } = options;
    const begun = this.host(options.on).clock.now();
    let count = 0;
    for (let after: string | undefined; ;) {
      const { items, next } = await this.list({ ...options, state: 'dead', limit: 1_000, after });
      // What died again since is not met again: that could go on for ever.
      const letters = items.filter(({ deadAt }) => deadAt! <= begun);
      for (const letter of letters)
        await each(letter, call).then(
          () => count++,
          (error: unknown) => {
            if (!isStorageError(error, 'NOT_FOUND')) throw error;
          },
        );
      if (next === undefined || letters.length < items.length) return count;
      after = next;
    }
  }

  private async decide(
    letter: Named,
    operation: string,
    options: OutboxOptions,
    change: (record: Stored, context: OperationContext) => Write[],
  ): Promise<void> {
    if (typeof letter !== 'object' || letter === null) throw invalid('letter', letter, 'an object of tenant and id');
    checkKnown(options, KEYS.options);
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
      const results = await host.backend.write(scope, [...change(record, context), lane], context);
      return results.every(({ status }) => status !== 'missing' && status !== 'conflict' && status !== 'skipped');
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

function readPending(record: Stored): PendingMessage {
  const { attempts, error, deadAt } = record.value;
  return {
    ...readMessage(record),
    state: deadAt === undefined ? 'waiting' : 'dead',
    attempts: (attempts as number | undefined) ?? 0,
    ...(error === undefined ? {} : { error: error as string }),
    ...(deadAt === undefined ? {} : { deadAt: new Date(deadAt as string) }),
  };
}
