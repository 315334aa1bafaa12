/** The provider on a stand-in of its own. */
import { afterEach } from '@jest/globals';
import assert from 'node:assert/strict';
import { systemClock, type Clock } from '../../../src/clock.js';
import { storeOn } from '../../../src/testing/vector-target.js';
import { pinecone } from '../../../src/vectors/pinecone.js';
import type { VectorProvider } from '../../../src/vectors/provider.js';
import type { VectorStore } from '../../../src/vectors/vector-store.js';
import { StandIn, type StandInOptions } from './stand-in.js';

/** Quick to try again, and no timeout that a slow machine meets. */
const SETTINGS = { retry: { attempts: 3, baseDelay: 1, maxDelay: 5 } };

export interface OpenPinecone {
  readonly standIn: StandIn;
  readonly provider: VectorProvider;
  readonly store: VectorStore;
  /** Fails when what was asked or answered was not as the service describes it. */
  close(): Promise<void>;
}

export function createProvider(settings: object, clock: Clock = systemClock): VectorProvider {
  return pinecone.create({ ...SETTINGS, ...settings }, { clock, name: 'vectors:pinecone' });
}

export async function openPinecone(
  options: Partial<StandInOptions> = {},
  settings: object = {},
  clock: Clock = systemClock,
): Promise<OpenPinecone> {
  const standIn = await StandIn.start(options);
  const provider = createProvider({ ...standIn.settings, ...settings }, clock);
  await provider.open({ clock, signal: new AbortController().signal });
  return {
    standIn,
    provider,
    store: storeOn(provider, 'acme'),
    async close() {
      await provider.close(clock.monotonic());
      await standIn.stop();
      assert.deepEqual(standIn.violations, []);
    },
  };
}

/** Opens one for a test; it is closed after it. */
export function usePinecone(): typeof openPinecone {
  let open: OpenPinecone | undefined;
  afterEach(async () => {
    await open?.close();
    open = undefined;
  });
  return async (...how) => (open = await openPinecone(...how));
}

/** A collection with records `r0`, `r1` ... whose metadata hold their number. */
export async function fill(store: VectorStore, name: string, count: number, dimension = 2): Promise<void> {
  await store.createCollection({ name, dimension, fields: { i: 'number' } });
  await store.upsert(
    name,
    Array.from({ length: count }, (_, i) => ({
      id: `r${i}`,
      vector: Float32Array.from({ length: dimension }, (_, at) => (at === 0 ? 1 : (i + at) / 7)),
      metadata: { i },
    })),
  );
}
