/** What a host says of a lock, with its defaults. */
import { hostname } from 'node:os';
import { checkId } from '../../backends/value.js';
import { LONGEST_DELAY } from '../../clock.js';
import type { CallOptions } from '../../component.js';
import { invalid, unknownKey } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';

/** `signal` ends the waiting; `timeout` is that of each step on the database. Neither concerns a lock that is held. */
export interface LockOptions extends CallOptions {
  /** Milliseconds after which another may have it when its holder shows no sign of life; from 100, default 30,000. */
  readonly ttl?: number | undefined;
  /** Milliseconds to wait while another has it, `Infinity` for as long as it takes; default 0. */
  readonly wait?: number | undefined;
  /** Whether it is renewed in the background, at a third of `ttl`; default true. */
  readonly renew?: boolean | undefined;
  /** What `inspect` tells others of the holder, up to 255 bytes; default: the machine's name and the process's id. */
  readonly holder?: string | undefined;
}

export interface LockSettings {
  readonly ttl: number;
  readonly wait: number;
  readonly renew: boolean;
  readonly holder: string;
  readonly call: CallOptions;
}

const KEYS = ['ttl', 'wait', 'renew', 'holder', 'signal', 'timeout'];
/** Below it the ways to the database, and what clocks differ by, are no small part of it. */
const SHORTEST = 100;

/** @throws `VALIDATION` */
export function checkLockOptions(options: unknown): LockSettings {
  if (!isPlainObject(options)) throw invalid('options', options, `an object of ${KEYS.join(', ')}`);
  for (const key of Object.keys(options)) if (!KEYS.includes(key)) throw unknownKey(key, KEYS);
  const { ttl = 30_000, wait = 0, renew = true, holder, signal, timeout } = options as LockOptions;
  if (typeof ttl !== 'number' || !(ttl >= SHORTEST && ttl <= LONGEST_DELAY))
    throw invalid('ttl', ttl, `a number of milliseconds from ${SHORTEST} to 2^31 - 1`);
  if (typeof wait !== 'number' || !(wait >= 0)) throw invalid('wait', wait, 'a number of milliseconds, 0 or more');
  if (typeof renew !== 'boolean') throw invalid('renew', renew, 'true or false');
  return {
    ttl,
    wait,
    renew,
    holder: holder === undefined ? thisProcess() : checkId(holder, 'holder'),
    call: { signal, timeout },
  };
}

function thisProcess(): string {
  return `${hostname()}:${process.pid}`;
}
