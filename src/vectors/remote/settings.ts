/** The settings that every provider over a service has, and their defaults. */
import type { SettingsFragment } from '../../component.js';
import type { RetryOptions } from './retry.js';

export interface RemoteOptions {
  readonly requestTimeout: number;
  readonly maxConcurrency: number;
  readonly retry: RetryOptions;
}

const DEFAULTS: RemoteOptions = {
  requestTimeout: 30_000,
  maxConcurrency: 16,
  retry: { attempts: 5, baseDelay: 100, maxDelay: 5_000 },
};

export const remoteSettings: SettingsFragment = {
  requestTimeout: {
    doc: 'How long one request may take, in milliseconds, before it is given up and made again.',
    format: 'milliseconds',
    default: DEFAULTS.requestTimeout,
  },
  maxConcurrency: {
    doc: 'How many requests are made at once at most; the others wait.',
    format: 'nat',
    default: DEFAULTS.maxConcurrency,
  },
  retry: {
    attempts: {
      doc: 'How often a request is made at most, the first time included; 1: never again.',
      format: 'nat',
      default: DEFAULTS.retry.attempts,
    },
    baseDelay: {
      doc: 'The longest wait before the second attempt, in milliseconds; each further one may be twice as long.',
      format: 'milliseconds',
      default: DEFAULTS.retry.baseDelay,
    },
    maxDelay: {
      doc: 'The longest wait between two attempts, in milliseconds, unless the service asks for a longer one.',
      format: 'milliseconds',
      default: DEFAULTS.retry.maxDelay,
    },
  },
};

interface Given {
  readonly requestTimeout?: number;
  readonly maxConcurrency?: number;
  readonly retry?: Partial<RetryOptions>;
}

export function readRemoteOptions(settings: Readonly<Record<string, unknown>>): RemoteOptions {
  const { requestTimeout = DEFAULTS.requestTimeout, maxConcurrency, retry } = settings as Given;
  const merged = { ...DEFAULTS.retry, ...retry };
  return {
    requestTimeout: Math.max(1, requestTimeout),
    maxConcurrency: Math.max(1, maxConcurrency ?? DEFAULTS.maxConcurrency),
    retry: { ...merged, attempts: Math.max(1, merged.attempts) },
  };
}
