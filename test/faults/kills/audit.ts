/** What is there after the kills, beside what the processes were told. */
import { setTimeout as after } from 'node:timers/promises';
import { openStorage } from '../../../src/index.js';
import { openReceiver, type Receipt, type Receiver } from './receiver.js';
import { relayTo } from './relay.js';
import type { PreparedKills } from './targets.js';
import { PARTS, readUnits } from './unit.js';
import type { StorageManager } from '../../../src/manager.js';

/** What the processes were told of their units before they died. */
export interface Told {
  readonly acknowledged: Set<string>;
  /** With the code of the error. */
  readonly refused: Map<string, string>;
}

export interface Verdict {
  readonly kills: number;
  readonly acknowledged: number;
  /** Units that were acknowledged and are not there. */
  readonly lost: readonly string[];
  /** Units that are there in part, and messages of units that are not there. */
  readonly half: readonly string[];
  readonly undelivered: readonly string[];
  /** Deliveries beyond the first, which the receiver knew by their key. */
  readonly repeated: number;
  /** Units that came to the receiver before an earlier one of their lane. */
  readonly disordered: readonly string[];
  /** Units that were said to have failed, and are there. */
  readonly contradicted: readonly string[];
}

/** Without any progress for so long, what waits is not delivered. */
const PATIENCE = 30_000;

export async function audit({ url, receiver: at }: PreparedKills, told: Told, kills: number): Promise<Verdict> {
  const receiver = await openReceiver(at);
  try {
    await using storage = await openStorage({ databases: { main: url } }, { environment: {} });
    await deliverAll(storage, receiver);
    const units = await readUnits(storage);
    const receipts = await receiver.received();
    const delivered = new Set(receipts.map(({ key }) => key));
    const { acknowledged, refused } = told;
    const there = [...units.keys()];
    return {
      kills,
      acknowledged: acknowledged.size,
      lost: [...acknowledged].filter((id) => !units.has(id)),
      half: [...there.filter((id) => units.get(id) !== PARTS), ...[...delivered].filter((id) => !units.has(id))],
      undelivered: there.filter((id) => !delivered.has(id)),
      repeated: receipts.reduce((sum, { times }) => sum + times - 1, 0),
      disordered: findDisorder(receipts),
      contradicted: [...refused].flatMap(([id, code]) => (code !== 'OUTCOME_UNKNOWN' && units.has(id) ? [id] : [])),
    };
  } finally {
    await receiver.close();
  }
}

/** Nothing is proven where nothing was acknowledged. */
export const isSound = (verdict: Verdict): boolean =>
  verdict.acknowledged > 0 &&
  [verdict.lost, verdict.half, verdict.undelivered, verdict.disordered, verdict.contradicted].every(
    ({ length }) => length === 0,
  );

export function describeVerdict(verdict: Verdict): string {
  const { kills, acknowledged, lost, half, undelivered, repeated, disordered, contradicted } = verdict;
  return (
    `${kills} kills, ${acknowledged} acknowledged, ${lost.length} lost, ${half.length} half, ${undelivered.length} undelivered, ` +
    `${repeated} repeated, ${disordered.length} out of order, ${contradicted.length} there though refused`
  );
}

async function deliverAll(storage: StorageManager, receiver: Receiver): Promise<void> {
  await using _relay = relayTo(storage, receiver);
  let fewest = Infinity;
  for (let since = performance.now(); performance.now() - since < PATIENCE;) {
    const { waiting } = await storage.outbox.backlog();
    if (waiting === 0) return;
    if (waiting < fewest) since = performance.now();
    fewest = Math.min(fewest, waiting);
    await after(100);
  }
}

/** The units of a lane commit one after another under one key, so that they come in their order. */
function findDisorder(receipts: readonly Receipt[]): string[] {
  const last = new Map<string, number>();
  const early: string[] = [];
  for (const { key } of [...receipts].sort((a, b) => a.place - b.place)) {
    const [lane, n] = key.split(':') as [string, string];
    if (Number(n) < (last.get(lane) ?? 0)) early.push(key);
    last.set(lane, Math.max(Number(n), last.get(lane) ?? 0));
  }
  return early;
}
