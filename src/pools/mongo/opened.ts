/** An open pool: its client, and who uses it. */
import type { Collection, Db, MongoClient } from 'mongodb';
import type { Deployment } from './connect.js';
import type { Connections } from './connections.js';
import type { Gate } from './gate.js';
import type { Library } from './library.js';
import type { Limit } from './limit.js';
import type { Probe } from './probe.js';
import type { MongoSession } from './session.js';

/** What a pool has while it is open. */
export interface Opened {
  readonly library: Library;
  readonly client: MongoClient;
  readonly db: Db;
  /** The level of its reads outside of transactions. */
  readonly readLevel: 'majority' | 'local';
  readonly deployment: Deployment;
  readonly gate: Gate;
  readonly connections: Connections;
  readonly probe: Probe;
  readonly collections: Map<string, Collection>;
  readonly limits: Set<Limit>;
  /** Of operations that have ended, for the next ones. */
  readonly spareSignals: AbortController[];
  readonly sessions: Set<MongoSession>;
  /** Set while a close waits for the work in flight. */
  onIdle: (() => void) | undefined;
}

export function isIdle({ gate, sessions }: Opened): boolean {
  return gate.taken === 0 && sessions.size === 0;
}

/** To be called where something of it has ended. */
export function tellIdle(opened: Opened): void {
  if (opened.onIdle !== undefined && isIdle(opened)) opened.onIdle();
}

export function leaveTurn(opened: Opened): void {
  opened.gate.release();
  tellIdle(opened);
}
