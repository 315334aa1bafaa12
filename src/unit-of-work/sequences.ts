/** Numbers that grow and are never given twice: a tenant's sequences, and the fencing tokens of what it locks. */
import { checkId } from '../backends/value.js';
import { COUNTERS, skipNumber, takeNumbers } from '../collection/counters.js';
import { runOperation, type CollectionHost } from '../collection/host.js';
import type { CallOptions } from '../component.js';
import { invalid, UnsupportedError } from '../errors.js';
import { Handle } from '../handle.js';

const MOST = 10_000;
/** As many are left beyond it. */
const MOST_SKIPPED = 2 ** 52;

export class Sequences extends Handle {
  constructor(private readonly host: CollectionHost) {
    super();
  }

  toJSON(): Record<string, unknown> {
    return { tenant: this.host.tenant };
  }

  /**
   * The next number of a sequence of the tenant: 1, 2, 3, ... In a transaction the number is the transaction's: no gap is
   * left when it rolls back, and transactions that take one from the same sequence wait for each other or run again.
   * @throws `STORAGE_FULL` beyond 2^53 - 1, the greatest number that is exact.
   * @param name any text that can be an id, up to 240 bytes
   */
  async next(name: string, options?: CallOptions): Promise<number> {
    return this.take('sequence', name, 1, 'next', options);
  }

  /** The next `count` numbers, one after another; at most 10,000. */
  async nextMany(name: string, count: number, options?: CallOptions): Promise<number[]> {
    if (!Number.isSafeInteger(count) || count < 1 || count > MOST)
      throw invalid('count', count, `a whole number from 1 to ${MOST}`);
    const first = await this.take('sequence', name, count, 'nextMany', options);
    return Array.from({ length: count }, (_, i) => first + i);
  }

  /**
   * The next number of a sequence is greater than `number`, whatever was given before: numbers that came from elsewhere. It
   * never goes back.
   * @throws `VALIDATION` for what is no whole number from 0 to 2^52
   */
  async skipTo(name: string, number: number, options?: CallOptions): Promise<void> {
    if (!Number.isSafeInteger(number) || number < 0 || number > MOST_SKIPPED)
      throw invalid('number', number, 'a whole number from 0 to 2^52');
    const { host } = this;
    const counter = counterOf('sequence', name);
    return runOperation(host, [COUNTERS], 'skipTo', options, (context) =>
      skipNumber(host.backend, { tenant: host.tenant }, counter, number, context),
    );
  }

  /**
   * A number greater than every one given for the resource before: who writes to it says the number, and the resource
   * refuses numbers below the highest it has seen.
   * @throws `UNSUPPORTED` in a transaction: one that rolls back would give its number again.
   */
  async fencingToken(resource: string, options?: CallOptions): Promise<number> {
    return this.take('fence', resource, 1, 'fencingToken', options);
  }

  private take(
    kind: 'sequence' | 'fence',
    name: string,
    count: number,
    operation: string,
    options: CallOptions | undefined,
  ): Promise<number> {
    const counter = counterOf(kind, name);
    const { host } = this;
    return runOperation(host, [COUNTERS], operation, options, (context) => {
      if (kind === 'fence' && context.session !== undefined)
        throw new UnsupportedError('A fencing token is taken before the transaction, not in it', { operation });
      return takeNumbers(host.backend, { tenant: host.tenant }, counter, count, context);
    });
  }
}

/** @throws `VALIDATION` */
function counterOf(kind: 'sequence' | 'fence', name: string): string {
  const key = kind === 'fence' ? 'resource' : 'name';
  if (typeof name !== 'string') throw invalid(key, name, 'a string');
  checkId(name, key);
  // Collections count their ids under their bare names, which hold no colon.
  return checkId(`${kind}:${name}`, key);
}
