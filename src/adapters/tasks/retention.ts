/** Which tasks are old enough to go. */
import type { Unit } from '../unit.js';
import { recordsOf } from './linked.js';
import { isTerminal, TASKS, TERMINAL, type TaskRecord } from './records.js';

/** So many records go at once, at most. */
export const RETAIN_AT_ONCE = 500;
const PAGE = 50;

/** How many records were deleted, or would be, by kind. */
export interface TaskRetention {
  readonly tasks: number;
  readonly dependencies: number;
  readonly assignments: number;
  readonly events: number;
  readonly jobLinks: number;
}

/** The next tasks that ended before `cutoff`, the oldest first. @param last of the ones before */
export function endedBefore(unit: Unit, cutoff: Date, last: TaskRecord | undefined): Promise<TaskRecord[]> {
  const filter = { status: { $in: TERMINAL }, updatedAt: { $lt: cutoff } };
  return unit.query(TASKS, filter, { sort: { updatedAt: 'asc' }, limit: PAGE, after: last });
}

/** Of these, those that still are old enough and whose subtasks are all among them, or gone. */
export async function deletable(
  unit: Unit,
  ids: readonly string[],
  cutoff: Date,
  gone: ReadonlySet<string>,
): Promise<TaskRecord[]> {
  const found = await unit.findMany(TASKS, ids);
  // After the tasks: a subtask that is made meanwhile writes its parent.
  const subtasks = await recordsOf(unit, TASKS, 'parentTaskId', ids);
  let going = found.filter(
    (task) => task !== undefined && isTerminal(task.value.status) && task.updatedAt.getTime() < cutoff.getTime(),
  ) as TaskRecord[];
  // A task that stays keeps its parent, and that one its own.
  for (let before = -1; before !== going.length;) {
    before = going.length;
    const among = new Set([...gone, ...going.map(({ id }) => id)]);
    const kept = new Set(subtasks.filter(({ id }) => !among.has(id)).map(({ value }) => value.parentTaskId));
    going = going.filter(({ id }) => !kept.has(id));
  }
  return going;
}
