/** What goes with a task that is deleted. */
import type { CollectionDefinition } from '../../collection/definition.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import { ConflictError, invalid } from '../../errors.js';
import { deletionToldUntil, type Actor, type EventValue } from '../events.js';
import type { Unit } from '../unit.js';
import { LINKS } from '../jobs/records.js';
import type { StoreHost } from '../host.js';
import { jobLinksOf, type JobLinkRecord } from './job-links.js';
import { recordsOf } from './linked.js';
import {
  ASSIGNMENTS,
  DEPENDENCIES,
  isTerminal,
  TASKS,
  type AssignmentRecord,
  type DependencyRecord,
  type TaskRecord,
} from './records.js';
import { latency } from './transitions.js';

/** A cascade takes no more tasks than this. */
const MOST_TASKS = 10_000;

export interface Children {
  readonly dependencies: readonly DependencyRecord[];
  readonly assignments: readonly AssignmentRecord[];
  readonly events: readonly StoredRecord<EventValue>[];
  readonly jobLinks: readonly JobLinkRecord[];
}

/** What hangs on these tasks; of each kind, no more than one above `most`. */
export async function childrenOf(
  unit: Unit,
  host: StoreHost,
  events: CollectionDefinition<EventValue>,
  ids: readonly string[],
  most: number,
): Promise<Children> {
  const [to, from, assignments, told, jobLinks] = await Promise.all([
    recordsOf(unit, DEPENDENCIES, 'taskId', ids, { most }),
    recordsOf(unit, DEPENDENCIES, 'dependsOnId', ids, { most }),
    recordsOf(unit, ASSIGNMENTS, 'taskId', ids, { most }),
    recordsOf(unit, events, 'aggregateId', ids, { most }),
    jobLinksOf(host, ids, most),
  ]);
  const dependencies = [...new Map([...to, ...from].map((edge) => [edge.id, edge])).values()];
  return { dependencies, assignments, events: told, jobLinks };
}

export function countOf({ dependencies, assignments, events, jobLinks }: Children): number {
  return dependencies.length + assignments.length + events.length + jobLinks.length;
}

export function removeChildren(
  unit: Unit,
  eventsOf: CollectionDefinition<EventValue>,
  { dependencies, assignments, events, jobLinks }: Children,
): void {
  for (const event of events) unit.remove(eventsOf, event);
  for (const assignment of assignments) unit.remove(ASSIGNMENTS, assignment);
  for (const edge of dependencies) unit.remove(DEPENDENCIES, edge);
  for (const link of jobLinks) unit.remove(LINKS, link);
}

export function removeTask(unit: Unit, tenantId: string, task: TaskRecord, actor: Actor): void {
  unit.remove(TASKS, task);
  const payload = { taskId: task.id, tenantId, status: task.value.status };
  unit.event({ id: task.id, version: task.version + 1 }, 'deleted', payload, actor, deletionToldUntil(unit.now));
}

/** A subtask that stays when its parent goes. */
export function detach(unit: Unit, tenantId: string, task: TaskRecord, actor: Actor): void {
  const { parentTaskId: _, ...value } = task.value;
  const next = unit.amend(TASKS, task, value);
  unit.event(
    next,
    'updated',
    { taskId: task.id, tenantId, changes: { parentTaskId: null }, latencyMs: latency(unit, task) },
    actor,
  );
}

/**
 * The tasks that go with one, the deepest first, and the subtasks that stay.
 * @throws `CONFLICT` for open subtasks without `cascade`; `VALIDATION` for too many.
 */
export async function withSubtasks(
  unit: Unit,
  task: TaskRecord,
  cascade: boolean,
): Promise<{ readonly going: readonly TaskRecord[]; readonly staying: readonly TaskRecord[] }> {
  const subtasks = await recordsOf(unit, TASKS, 'parentTaskId', [task.id]);
  const open = subtasks.filter(({ value }) => !isTerminal(value.status));
  if (!cascade && open.length > 0)
    throw new ConflictError(
      'CONFLICT',
      `The task ${task.id} has ${open.length} open subtasks: delete it with cascade`,
      {
        details: { id: task.id, reason: 'subtasks', ids: open.slice(0, 100).map(({ id }) => id) },
      },
    );
  if (!cascade) return { going: [task], staying: subtasks };
  const going = [task];
  for (let level = subtasks; level.length > 0;) {
    going.unshift(...level);
    if (going.length > MOST_TASKS) throw invalid('id', task.id, `a task with at most ${MOST_TASKS} subtasks`);
    level = await recordsOf(
      unit,
      TASKS,
      'parentTaskId',
      level.map(({ id }) => id),
    );
  }
  return { going, staying: [] };
}
