/** Which status follows which, and what must be complete before. */
import { StorageError } from '../../errors.js';
import type { StoreSettings } from '../settings.js';
import type { Actor, StoreEvent } from '../events.js';
import type { Unit } from '../unit.js';
import { prerequisitesOf } from './dependencies.js';
import { isTerminal, TASKS, type TaskRecord, type TaskStatus } from './records.js';

const NEXT: Readonly<Record<TaskStatus, readonly TaskStatus[]>> = {
  draft: ['ready', 'cancelled'],
  ready: ['in_progress', 'cancelled'],
  in_progress: ['review', 'cancelled'],
  review: ['done', 'cancelled'],
  done: [],
  cancelled: [],
};
const BACK: Partial<Record<TaskStatus, readonly TaskStatus[]>> = { review: ['in_progress'], in_progress: ['ready'] };

type Settings = StoreSettings['tasks'];

/** The statuses that a task may have next. */
export function allowedAfter(status: TaskStatus, { extraTransitions }: Settings): readonly TaskStatus[] {
  return [...NEXT[status], ...(extraTransitions ? (BACK[status] ?? []) : [])];
}

export function satisfies(status: TaskStatus, { cancelledSatisfies }: Settings): boolean {
  return status === 'done' || (status === 'cancelled' && cancelledSatisfies);
}

export interface Transition {
  readonly task: TaskRecord;
  readonly to: TaskStatus;
  readonly reason?: string | undefined;
}

/**
 * Writes transitions in their order: a later one sees what an earlier one made. Those that change nothing write nothing.
 * A prerequisite that is complete stays so, and one that is added replaces the task, which is read before them: the guard
 * holds when it is written.
 * @throws `INVALID_TRANSITION`, `DEPENDENCY_INCOMPLETE`
 */
export async function transitionAll(
  unit: Unit,
  tenantId: string,
  transitions: readonly Transition[],
  settings: Settings,
  actor: Actor,
): Promise<{ readonly task: TaskRecord; readonly events: readonly StoreEvent[] }[]> {
  const changing = transitions.filter(({ task, to }) => task.value.status !== to);
  for (const { task, to } of changing) checkAllowed(task, to, settings);
  const guarded = changing.filter(({ to }) => to !== 'cancelled').map(({ task }) => task.id);
  const prerequisites = await prerequisitesOf(unit, guarded, 'blocks');
  const reached = new Map<string, TaskStatus>();
  return transitions.map(({ task, to, reason }) => {
    const from = task.value.status;
    if (from === to) return { task, events: [] };
    const open = (prerequisites.get(task.id) ?? []).filter(
      ({ id, status }) => !satisfies(reached.get(id) ?? status, settings),
    );
    if (open.length > 0)
      throw new StorageError('DEPENDENCY_INCOMPLETE', `The task ${task.id} waits for ${open.length} other tasks`, {
        details: { id: task.id, ids: open.map(({ id }) => id) },
      });
    reached.set(task.id, to);
    const next = unit.amend(TASKS, task, { ...task.value, status: to });
    const payload = {
      taskId: task.id,
      tenantId,
      from,
      to,
      reason,
      ...(isTerminal(to) ? { success: to === 'done' } : {}),
      latencyMs: latency(unit, task),
    };
    return { task: next, events: [unit.event(next, 'status_changed', payload, actor)] };
  });
}

function checkAllowed({ id, value: { status: from } }: TaskRecord, to: TaskStatus, settings: Settings): void {
  const allowed = allowedAfter(from, settings);
  if (allowed.includes(to)) return;
  const ways = allowed.length === 0 ? 'it stays so' : `only ${allowed.join(', ')} may follow`;
  throw new StorageError('INVALID_TRANSITION', `The task ${id} is ${from} and cannot become ${to}: ${ways}`, {
    details: { id, from, to, allowed },
  });
}

/** Since the task was written before; a clock that was set back makes it 0. */
export function latency(unit: Unit, task: TaskRecord): number {
  return Math.max(0, unit.now.getTime() - task.updatedAt.getTime());
}
