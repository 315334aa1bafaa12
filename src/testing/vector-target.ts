/** What the vector suites run against, and the stores they run on. */
import assert from 'node:assert/strict';
import { systemClock } from '../clock.js';
import type { BeginOperation, Session } from '../component.js';
import { isStorageError, type ErrorCode } from '../errors.js';
import type { VectorCollectionSpec, VectorProvider } from '../vectors/provider.js';
import { VectorStore } from '../vectors/vector-store.js';

export interface VectorTarget {
  /** As it appears in the report: `pglite`. */
  readonly name: string;
  /** An open provider, another one each time. What is there already is left alone: the suites use collections of their own, and delete them. */
  open(): Promise<OpenVectors>;
  /** Waits until what was written is seen; absent where the provider's own `settle` does, or reads are immediate. */
  settle?(): Promise<void>;
}

export interface OpenVectors {
  readonly provider: VectorProvider;
  close(): Promise<void>;
}

const run = Math.random().toString(36).slice(2, 8);
let collections = 0;

/** An open target, and the collections that were made on it. */
export class VectorFixture {
  private readonly made = new Set<string>();

  constructor(
    private readonly target: VectorTarget,
    private readonly open: OpenVectors,
  ) {}

  get provider(): VectorProvider {
    return this.open.provider;
  }

  async settle(): Promise<void> {
    await this.provider.settle?.({ now: systemClock.now(), deadline: systemClock.monotonic() + 60_000 });
    await this.target.settle?.();
  }

  store(tenant = 'suite', session?: Session): VectorStore {
    return storeOn(this.provider, tenant, session);
  }

  /** A name that no other test has. */
  name(): string {
    const name = `test-${run}-${++collections}`;
    this.made.add(name);
    return name;
  }

  /** A new collection of three dimensions, unless said otherwise. */
  async collection(spec: Partial<VectorCollectionSpec> = {}): Promise<string> {
    const name = this.name();
    const metric = this.provider.capabilities.metrics[0] ?? 'cosine';
    await this.store().createCollection({ dimension: 3, metric, ...spec, name });
    return name;
  }

  async close(): Promise<void> {
    try {
      for (const name of this.made) await this.store().deleteCollection(name);
    } finally {
      await this.open.close();
    }
  }
}

/** A store for one tenant, over a provider alone. */
export function storeOn(provider: VectorProvider, tenant: string, session?: Session): VectorStore {
  const begin: BeginOperation = (_operation, options = {}) => ({
    context: {
      now: systemClock.now(),
      deadline: systemClock.monotonic() + (options.timeout ?? 60_000),
      signal: options.signal,
      session,
    },
    end: () => undefined,
  });
  return new VectorStore(provider, tenant, begin, systemClock);
}

/** @throws unless `promise` rejects with an error of this code, whose message holds `words`. */
export async function rejects(promise: Promise<unknown>, code: ErrorCode, words = ''): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(isStorageError(error), `a StorageError, not ${String(error)}`);
    assert.equal(error.code, code, error.message);
    assert.ok(error.message.includes(words), `${JSON.stringify(error.message)} says ${words}`);
    return true;
  });
}
