/** Tasks that are parts of others. */
import { invalid } from '../../errors.js';
import type { Unit } from '../unit.js';
import { cycle } from './dependencies.js';
import { TASKS } from './records.js';

/** The way up from a new parent is followed no further than this. */
const DEEPEST = 1_000;

/**
 * Links a task to its parent: writes the parent, so that whoever deletes it at that moment decides again.
 * @throws `VALIDATION` for a parent that is not there
 */
export async function linkToParent(unit: Unit, parentTaskId: string, key: string): Promise<void> {
  if ((await unit.find(TASKS, parentTaskId)) === undefined)
    throw invalid(key, parentTaskId, "one of the tenant's tasks");
  link(unit, parentTaskId);
}

/** Writes a task that another one is linked to, whatever else is written of it meanwhile. */
export function link(unit: Unit, id: string): void {
  unit.patch(TASKS, id, { increment: { links: 1 } });
}

/** @throws `DEPENDENCY_CYCLE` when the task is above its new parent, `VALIDATION` for a parent that is too deep. */
export async function checkNoLoop(unit: Unit, taskId: string, parentTaskId: string, key: string): Promise<void> {
  const path = [taskId];
  for (let at: string | undefined = parentTaskId; at !== undefined;) {
    path.push(at);
    if (at === taskId) throw cycle(path);
    if (path.length > DEEPEST) throw invalid(key, parentTaskId, `a task at most ${DEEPEST} levels deep`);
    at = (await unit.find(TASKS, at))?.value.parentTaskId;
  }
}
