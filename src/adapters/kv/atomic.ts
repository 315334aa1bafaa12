/** Writing what follows from what is there, in one atomic step. */
import { isDeepStrictEqual } from 'node:util';
import type { JsonValue } from '../../backends/backend.js';
import { copyJson } from '../../backends/value.js';
import { within } from '../../clock.js';
import { withTimeLeft, type CallOptions, type OperationContext } from '../../component.js';
import { invalid } from '../../errors.js';
import { json } from '../arguments.js';
import { callOptions } from '../store.js';
import { countReader, readAddress, readOptions, readValue, VERSION } from './arguments.js';
import { KeyValueBulk } from './bulk.js';
import { expiryOf, idOf, sized, valueOf, type Entry, type KeyValue } from './entry.js';
import type { Met } from './entry-unit.js';
import { Flights } from './flights.js';
import { add, countable, countableLike, mayBegin, type Increment } from './increment.js';
import { TTL, type SetOptions } from './writer.js';

export interface IncrementEntryOptions extends CallOptions {
  /** A whole number, also a negative one; default 1. */
  readonly delta?: number | undefined;
  /** What an entry that is not there counts as; default 0. */
  readonly initialValue?: number | undefined;
  /** Seconds from now; null: it never expires. Default: what is left to it stays, and a new one has `kv.defaultTtlSeconds`. */
  readonly ttlSeconds?: number | null | undefined;
  /** The least and the most that the sum may be: else `CONFLICT`, and nothing is written. */
  readonly min?: number | undefined;
  readonly max?: number | undefined;
}

/** One of the three. */
export type Comparison =
  | { readonly ifVersion: number; readonly ifAbsent?: undefined; readonly ifValue?: undefined }
  | { readonly ifAbsent: true; readonly ifVersion?: undefined; readonly ifValue?: undefined }
  | { readonly ifValue: unknown; readonly ifVersion?: undefined; readonly ifAbsent?: undefined };

export interface Exchange<Value = JsonValue> {
  readonly ok: boolean;
  /** As it is now. */
  readonly entry: KeyValue<Value>;
}

export interface Replacement<Value = JsonValue> {
  /** What was there. */
  readonly former: KeyValue<Value>;
  readonly entry: Entry;
}

/** By database opened: its handles come and go. */
const FLIGHTS = new WeakMap<object, Flights<Entry<unknown>>>();

export abstract class KeyValueAtomic extends KeyValueBulk {
  /**
   * Adds to a whole number, in one atomic step, also the first one and one that meets an expired entry.
   * @throws `NOT_A_NUMBER` for another value, and for a sum beyond 2^53 - 1; `CONFLICT` beyond `min` or `max`; `QUOTA_EXCEEDED`
   */
  async increment(namespace: string, key: string, options: IncrementEntryOptions = {}): Promise<Entry<number>> {
    const at = readAddress(namespace, key);
    const { delta = 1, initialValue = 0, ttlSeconds, min, max } = readIncrement(options);
    const increment: Increment = {
      delta,
      initialValue,
      min: min ?? Number.MIN_SAFE_INTEGER,
      max: max ?? Number.MAX_SAFE_INTEGER,
    };
    let first = true;
    const counted = await this.change('increment', options, async (entries) => {
      const { counted, unit } = entries;
      const usual = this.expiry(ttlSeconds, unit);
      const lifetime = ttlSeconds === undefined ? undefined : (usual ?? null);
      const condition = first ? countable(increment, counted, unit.now) : undefined;
      first = false;
      if (condition !== undefined) {
        // A new entry has its TTL, one that is there keeps it: no patch says both.
        const begins = !counted && mayBegin(increment) && (lifetime !== undefined || usual === undefined);
        return entries.add(at, delta, condition, lifetime, begins ? initialValue + delta : undefined);
      }
      const met = await entries.read(at);
      const sum = add(at, met.live, increment, 'kv.increment');
      const current = met.live?.value.integer;
      const plain = met.live !== undefined && (counted ? met.live.expiresAt : met.live.value.expires) === undefined;
      if (current !== undefined && plain) {
        const condition = countableLike(increment, current, sum, counted, unit.now);
        entries.grow(at, String(sum).length - String(current).length);
        return entries.add(at, delta, condition, lifetime);
      }
      const kept = met.live !== undefined && ttlSeconds === undefined;
      return entries.write(met, sized(sum), kept ? expiryOf(met.live) : usual, true);
    });
    return counted as Entry<number>;
  }

  /** Sets an entry only as it is expected to be: at a version, with a value (equal as JSON), or not there. */
  async compareAndSet<Value = JsonValue>(
    namespace: string,
    key: string,
    value: unknown,
    options: SetOptions & Comparison,
  ): Promise<Exchange<Value>> {
    const at = readAddress(namespace, key);
    const stored = readValue(at, value, this.valueLimits);
    const expected = readComparison(options);
    const { ttlSeconds } = options;
    return this.change<Exchange<Value>>('compareAndSet', options, async (entries) => {
      const met = await entries.read(at);
      if (!expected(met)) {
        const entry = entries.present<Value>(met);
        return () => ({ ok: false, entry });
      }
      const written = entries.write(met, stored, this.expiry(ttlSeconds, entries.unit), true);
      return () => ({ ok: true, entry: written() as Entry<Value> });
    });
  }

  /** Sets an entry that is not there. */
  async setIfAbsent<Value = JsonValue>(
    namespace: string,
    key: string,
    value: unknown,
    options: SetOptions = {},
  ): Promise<Exchange<Value>> {
    readOptions(options, TTL);
    return this.compareAndSet(namespace, key, value, { ...options, ifAbsent: true });
  }

  /** Sets an entry and tells what was there. */
  async getAndSet<Value = JsonValue>(
    namespace: string,
    key: string,
    value: unknown,
    options: SetOptions = {},
  ): Promise<Replacement<Value>> {
    const at = readAddress(namespace, key);
    const stored = readValue(at, value, this.valueLimits);
    const { ttlSeconds } = readOptions(options, TTL);
    return this.change<Replacement<Value>>('getAndSet', options, async (entries) => {
      const met = await entries.read(at);
      const former = entries.present<Value>(met);
      const written = entries.write(met, stored, this.expiry(ttlSeconds, entries.unit), true);
      return () => ({ former, entry: written() });
    });
  }

  /** Deletes an entry and tells what was there: of several callers one gets it. */
  async getAndDelete<Value = JsonValue>(
    namespace: string,
    key: string,
    options: CallOptions = {},
  ): Promise<KeyValue<Value>> {
    const at = readAddress(namespace, key);
    readOptions(options, {});
    return this.shrink<KeyValue<Value>>('getAndDelete', options, async (entries) => {
      const met = await entries.read(at);
      const entry = entries.present<Value>(met);
      if (entry.found) entries.remove(met, true);
      return () => entry;
    });
  }

  /**
   * Sets what `change` makes of the value (`undefined` when there is none); again from what is there when another writer was
   * faster, so it should do nothing else. Keeps the expiry unless `ttlSeconds` is given.
   * @throws what `change` throws; `VALIDATION` for what it gives; `CONFLICT` (retryable) when others were faster until its
   * `timeout`; `ABORTED` and `TIMEOUT` while `change` does not answer
   */
  async update<Value = JsonValue>(
    namespace: string,
    key: string,
    change: (value: Value | undefined) => unknown,
    options: SetOptions = {},
  ): Promise<Entry<Value>> {
    const at = readAddress(namespace, key);
    if (typeof change !== 'function') throw invalid('change', change, 'a function');
    const { ttlSeconds } = readOptions(options, TTL);
    const written = await this.change('update', options, async (entries) => {
      const met = await entries.read(at);
      // A copy: what the function changes in it is not what was read.
      const current = met.live === undefined ? undefined : copyJson(valueOf(met.live.value));
      const next = await within(
        (async () => change(current as Value | undefined))(),
        entries.unit.context,
        this.host.clock,
        'The deadline passed before the function had answered',
        { operation: 'kv.update' },
      );
      const stored = readValue(at, next, this.valueLimits);
      const kept = met.live !== undefined && ttlSeconds === undefined;
      return entries.write(met, stored, kept ? expiryOf(met.live) : this.expiry(ttlSeconds, entries.unit), true);
    });
    return written as Entry<Value>;
  }

  /**
   * The entry; when it is not there, what `compute` gives is set. In this process one computation is for all who ask meanwhile,
   * each of whom waits by its own `signal` and `timeout`, while it goes on for the others; who asks when the first of them
   * waits no more has it computed again. Inside a transaction each computes for itself. Of several processes the first to set it is heard by all.
   * @throws what `compute` throws; `ABORTED`, `TIMEOUT`
   */
  async getOrSet<Value = JsonValue>(
    namespace: string,
    key: string,
    compute: () => Value | Promise<Value>,
    options: SetOptions = {},
  ): Promise<Entry<Value>> {
    const at = readAddress(namespace, key);
    if (typeof compute !== 'function') throw invalid('compute', compute, 'a function');
    const { ttlSeconds } = readOptions(options, TTL);
    const { backend, clock, outbox, tenant } = this.host;
    const call = callOptions(options);
    const { context: bounds, end } = this.host.begin('kv.getOrSet', call);
    end();
    const left = (): CallOptions => withTimeLeft(call, bounds.deadline, clock);
    const find = (): Promise<KeyValue<Value>> => this.find('getOrSet', at, left());
    const settle = async (value: Value, callNow: () => CallOptions): Promise<Entry<Value>> => {
      for (;;) {
        const { entry } = await this.compareAndSet<Value>(namespace, key, value, {
          ...callNow(),
          ttlSeconds,
          ifAbsent: true,
        });
        // Another one that was there, and has gone since.
        if (entry.found) return entry;
      }
    };
    const answer = async (): Promise<Value> => compute();
    const wait = <R>(work: Promise<R>, context: OperationContext): Promise<R> =>
      within(work, context, clock, `The value of ${JSON.stringify(key)} took too long`, {
        operation: 'kv.getOrSet',
      });
    if (outbox !== undefined) {
      const known = await find();
      if (known.found) return known;
      return settle(await wait(answer(), bounds), left);
    }
    const flights = FLIGHTS.get(backend) ?? new Flights();
    FLIGHTS.set(backend, flights);
    for (;;) {
      const look = flights.look(`${tenant.length}:${tenant}${idOf(at)}`);
      try {
        const known = await find();
        if (known.found) return known;
        const entry = await this.steps('getOrSet', () =>
          this.run('getOrSet', left(), (context) =>
            flights.share(
              look,
              async () => settle(await answer(), () => ({})),
              (computing) => wait(computing, context),
            ),
          ),
        );
        if (entry !== undefined) return structuredClone(entry as Entry<Value>);
      } finally {
        flights.end(look);
      }
    }
  }
}

const INCREMENT = { delta: countReader, initialValue: countReader, min: countReader, max: countReader, ...TTL };

function readIncrement(options: IncrementEntryOptions): IncrementEntryOptions {
  return readOptions(options, INCREMENT);
}

interface Conditions extends SetOptions {
  readonly ifVersion?: number | undefined;
  readonly ifAbsent?: true | undefined;
  readonly ifValue?: unknown;
}

function readComparison(options: SetOptions & Comparison): (met: Met) => boolean {
  const { ifVersion, ifAbsent, ifValue } = readOptions<Conditions>(options, {
    ...TTL,
    ifVersion: VERSION,
    ifAbsent: (value, key) => {
      if (value !== true) throw invalid(key, value, 'true');
    },
    ifValue: (value) => value,
  });
  const given = [ifVersion, ifAbsent, ifValue].filter((condition) => condition !== undefined);
  if (given.length !== 1) throw invalid('options', options, 'one of ifVersion, ifAbsent and ifValue');
  if (ifVersion !== undefined) return ({ live }) => live?.version === ifVersion;
  if (ifAbsent === true) return ({ live }) => live === undefined;
  const wanted = json(ifValue, 'options.ifValue');
  return ({ live }) => live !== undefined && isDeepStrictEqual(valueOf(live.value), wanted);
}
