/** Many schedules, from one seed on, each held against the serial orders of its units. */
import type { MemoryPool } from '../../../src/pools/memory.js';
import { runSchedule } from './run.js';
import { drawSchedule } from './schedule.js';
import { serialOrder } from './serial.js';

export interface Exploration {
  readonly schedules: number;
  readonly committed: number;
  /** Units that ended with `CONFLICT`, or undid themselves. */
  readonly undone: number;
  /** The seeds whose outcome no serial order has. */
  readonly unserializable: readonly number[];
}

export async function explore(
  from: number,
  schedules: number,
  weaken?: (pool: MemoryPool) => void,
): Promise<Exploration> {
  let committed = 0;
  let units = 0;
  const unserializable: number[] = [];
  for (let seed = from; seed < from + schedules; seed++) {
    const schedule = drawSchedule(seed);
    const history = await runSchedule(schedule, weaken);
    committed += history.committed.length;
    units += schedule.units.length;
    if (serialOrder(history) === undefined) unserializable.push(seed);
  }
  return { schedules, committed, undone: units - committed, unserializable };
}

export function describeExploration({ schedules, committed, undone, unserializable }: Exploration): string {
  return `${schedules} schedules, ${committed} units committed, ${undone} undone, ${unserializable.length} not serializable`;
}
