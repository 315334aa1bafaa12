/** Runs a schedule on the memory backend, by a clock that only the schedule moves: the same seed, the same course. */
import { sleep } from '../../../src/clock.js';
import { defineCollection, isStorageError, type Transaction } from '../../../src/index.js';
import { StorageManager } from '../../../src/manager.js';
import type { MemoryPool } from '../../../src/pools/memory.js';
import { registry } from '../../../src/registry.js';
import { loadSettings } from '../../../src/settings.js';
import { ManualClock } from '../../support/manual-clock.js';
import { databaseOf } from '../../support/open-parts.js';
import { random } from '../../support/random.js';
import { INITIAL, valueOf, type Operation, type Schedule, type Seen, type Unit } from './schedule.js';
import type { Committed, History } from './serial.js';

const Records = defineCollection<{ n: number }>({ name: 'schedule_records', fields: { n: 'number' }, id: 'given' });

class Undone extends Error {}

/** @param weaken changes the pool before the units begin: for the proof that what is wrong is found. */
export async function runSchedule(schedule: Schedule, weaken?: (pool: MemoryPool) => void): Promise<History> {
  const clock = new ManualClock();
  const overrides = { databases: { main: { url: 'memory:', seed: schedule.seed } } };
  const settings = await loadSettings({ registry, environment: {}, overrides });
  const storage = new StorageManager({ registry, settings, clock });
  const drawn = random(schedule.seed);
  const systemRandom = Math.random;
  // The wait before a unit runs again is drawn too.
  Math.random = drawn;
  try {
    await storage.open();
    const records = storage.collection(Records);
    await records.saveMany([...INITIAL].map(([id, n]) => ({ id, value: { n } })));
    weaken?.(databaseOf(storage).pool as MemoryPool);
    const committed: Committed[] = [];
    let running = schedule.units.length;
    const all = Promise.all(
      schedule.units.map(async (unit) => {
        const seen = await runUnit(storage, unit, clock).finally(() => running--);
        if (seen !== undefined) committed.push({ unit, seen });
      }),
    );
    while (running > 0) await clock.advance(1);
    await all;
    const { items } = await records.list();
    return { committed, final: new Map(items.map(({ id, value }) => [id, value.n])) };
  } finally {
    Math.random = systemRandom;
    await storage.close({ deadline: 0 });
  }
}

/** What it saw when it was committed; `undefined`: it was not. */
async function runUnit(storage: StorageManager, unit: Unit, clock: ManualClock): Promise<Seen[] | undefined> {
  const course = async (on: StorageManager | Transaction): Promise<Seen[]> => {
    const seen: Seen[] = [];
    for (const [i, operation] of unit.operations.entries()) {
      await pause(clock, unit.pauses[i]!);
      seen.push(await operate(on, operation, unit.name, seen));
    }
    await pause(clock, unit.pauses.at(-1)!);
    if (unit.ending === 'throw') throw new Undone();
    return seen;
  };
  try {
    return await (unit.bare ? course(storage) : storage.transaction(course, { retries: 3 }));
  } catch (error) {
    if (error instanceof Undone || isStorageError(error, 'CONFLICT')) return undefined;
    throw error;
  }
}

const pause = (clock: ManualClock, milliseconds: number): Promise<void> | undefined =>
  milliseconds === 0 ? undefined : sleep(clock, milliseconds);

async function operate(
  on: StorageManager | Transaction,
  operation: Operation,
  unit: string,
  seen: readonly Seen[],
): Promise<Seen> {
  const records = on.collection(Records);
  const orNone = (work: Promise<Seen>): Promise<Seen> =>
    work.catch((error: unknown) => {
      if (isStorageError(error, 'NOT_FOUND')) return null;
      throw error;
    });
  switch (operation.kind) {
    case 'read':
      return (await records.find(operation.id))?.value.n ?? null;
    case 'count':
      return records.count({ n: { $gte: operation.least } });
    case 'write':
      await records.save({ n: valueOf(unit, seen) }, { id: operation.id });
      return null;
    case 'increment':
      return orNone(records.increment(operation.id, 'n'));
    case 'delete':
      return orNone(records.delete(operation.id).then(() => 1));
  }
}
