/** What a peer's store of vectors is asked for, and how its package is found: those of `bench/peers` are not the project's. */
import { createRequire } from 'node:module';
import type { Filter, Metadata } from 'quartermaster';

const MANIFEST = new URL('../../../../bench/peers/package.json', import.meta.url);

export interface PeerRecord {
  readonly id: string;
  /** Peers take no typed array. */
  readonly vector: number[];
  readonly metadata: Metadata;
}

/** A table of vectors of a peer, as its own documentation would have one use it. */
export interface Peer {
  /** In batches of 500. */
  write(records: readonly PeerRecord[]): Promise<unknown>;
  /** By hnsw with 16 and 64, as ours. */
  index(): Promise<unknown>;
  /** The ids of the ten closest by cosine, with their metadata read as they come. */
  search(vector: number[], filter: Filter<Metadata>): Promise<string[]>;
  close(): Promise<void>;
}

export interface PeerTable {
  readonly url: string;
  readonly table: string;
  readonly dimension: number;
}

export type OpenPeer = (table: PeerTable) => Promise<Peer>;

/** `undefined` where the package is not installed: how to install it is printed. */
export function loadPeer(specifier: string): unknown {
  const load = createRequire(MANIFEST);
  try {
    load.resolve(specifier);
  } catch {
    console.log(`\n${specifier} is not there; run: npm ci --ignore-scripts --prefix bench/peers`);
    return undefined;
  }
  return load(specifier);
}

export function* batches<T>(items: readonly T[], size = 500): Generator<readonly T[]> {
  for (let i = 0; i < items.length; i += size) yield items.slice(i, i + size);
}
