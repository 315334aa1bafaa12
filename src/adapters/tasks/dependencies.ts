/** Which task waits for which: reading the graph, and keeping it free of circles. */
import { invalid, StorageError } from '../../errors.js';
import type { Unit } from '../unit.js';
import { recordsOf } from './linked.js';
import { DEPENDENCIES, GRAPH, GRAPH_ID, TASKS, type DependencyType, type TaskStatus } from './records.js';

/** A search for a circle looks at no more tasks than this. */
const MOST_VISITED = 10_000;
const AT_ONCE = 1_000;

export interface Prerequisite {
  readonly id: string;
  readonly type: DependencyType;
  readonly status: TaskStatus;
}

/** What each task waits for. @param type default: all */
export async function prerequisitesOf(
  unit: Unit,
  ids: readonly string[],
  type?: DependencyType,
): Promise<Map<string, Prerequisite[]>> {
  const where = type === undefined ? {} : { type };
  const edges = await recordsOf(unit, DEPENDENCIES, 'taskId', ids, { where });
  const wanted = [...new Set(edges.map(({ value }) => value.dependsOnId))];
  const statuses = new Map<string, TaskStatus>();
  for (let i = 0; i < wanted.length; i += AT_ONCE)
    for (const task of await unit.findMany(TASKS, wanted.slice(i, i + AT_ONCE)))
      if (task !== undefined) statuses.set(task.id, task.value.status);
  const byTask = new Map<string, Prerequisite[]>();
  for (const { value } of edges) {
    const status = statuses.get(value.dependsOnId);
    // Deleted between the two reads, and its edge with it.
    if (status === undefined) continue;
    const known = byTask.get(value.taskId) ?? [];
    known.push({ id: value.dependsOnId, type: value.type, status });
    byTask.set(value.taskId, known);
  }
  return byTask;
}

/**
 * Makes this decision and every other one that could close a circle of the tenant's tasks one after another.
 * What it gives is to be called with the writes.
 */
export async function enterGraph(unit: Unit): Promise<() => void> {
  const graph = await unit.find(GRAPH, GRAPH_ID);
  return () => {
    if (graph === undefined) unit.insert(GRAPH, { changes: 1 }, { id: GRAPH_ID });
    else unit.replace(GRAPH, graph, { changes: graph.value.changes + 1 });
  };
}

/** @throws `DEPENDENCY_CYCLE` when `dependsOnId` leads to the task, with the way round; `VALIDATION` when it leads too far. */
export async function checkNoCycle(unit: Unit, taskId: string, dependsOnId: string): Promise<void> {
  // Nothing leads to a task that nothing waits for: most edges are added to such, and the search reads each level once.
  if ((await unit.query(DEPENDENCIES, { dependsOnId: taskId }, { limit: 1 })).length === 0) return;
  const cameFrom = new Map<string, string>([[dependsOnId, taskId]]);
  for (let frontier = [dependsOnId]; frontier.length > 0 && !cameFrom.has(taskId);) {
    const edges = await recordsOf(unit, DEPENDENCIES, 'taskId', frontier);
    frontier = [];
    for (const { value } of edges) {
      if (cameFrom.has(value.dependsOnId)) continue;
      cameFrom.set(value.dependsOnId, value.taskId);
      frontier.push(value.dependsOnId);
    }
    if (cameFrom.size > MOST_VISITED)
      throw invalid('dependsOnId', dependsOnId, `a task that leads to at most ${MOST_VISITED} others`);
  }
  if (!cameFrom.has(taskId)) return;
  const path = [taskId];
  for (let at = cameFrom.get(taskId)!; at !== taskId; at = cameFrom.get(at)!) path.unshift(at);
  throw cycle([taskId, ...path]);
}

/** @param path from the task round to itself */
export function cycle(path: readonly string[]): StorageError {
  return new StorageError('DEPENDENCY_CYCLE', `The tasks would be in a circle of ${path.length - 1}`, {
    details: { path },
  });
}
