/** Which tasks can be begun: what is a draft or ready, each read in the order of its index, and what of it waits for nothing. */
import type { Unit } from '../unit.js';
import { prerequisitesOf } from './dependencies.js';
import { TASKS, type TaskRecord, type TaskStatus } from './records.js';

const NOT_BEGUN: readonly TaskStatus[] = ['draft', 'ready'];
const FEWEST = 20;
const MOST = 200;

/** Tasks of one status that are read and not yet taken, the most urgent first. */
interface Queue {
  readonly status: TaskStatus;
  tasks: TaskRecord[];
  last: TaskRecord | undefined;
  isOver: boolean;
}

/** Tasks not begun that wait for nothing, the most urgent first: four reads for some hundred of them. */
export async function readyTasks(
  unit: Unit,
  limit: number,
  satisfied: (status: TaskStatus) => boolean,
): Promise<TaskRecord[]> {
  const ready: TaskRecord[] = [];
  const queues = NOT_BEGUN.map((status): Queue => ({ status, tasks: [], last: undefined, isOver: false }));
  // More than are wanted: some will wait for others.
  const page = Math.min(Math.max(2 * limit, FEWEST), MOST);
  for (;;) {
    await Promise.all(queues.map((queue) => readOn(unit, queue, page)));
    const tasks = takeFirst(queues);
    const prerequisites = await prerequisitesOf(
      unit,
      tasks.map(({ id }) => id),
      'blocks',
    );
    for (const task of tasks)
      if ((prerequisites.get(task.id) ?? []).every(({ status }) => satisfied(status))) ready.push(task);
    if (tasks.length === 0 || ready.length >= limit) return ready.slice(0, limit);
  }
}

async function readOn(unit: Unit, queue: Queue, limit: number): Promise<void> {
  if (queue.tasks.length > 0 || queue.isOver) return;
  const { status, last } = queue;
  const sort = { priority: 'desc', dueOrder: 'asc' } as const;
  queue.tasks = await unit.query(TASKS, { status }, { sort, limit, after: last });
  queue.last = queue.tasks.at(-1);
  queue.isOver = queue.tasks.length < limit;
}

/** The first of all, as far as each queue has been read. */
function takeFirst(queues: readonly Queue[]): TaskRecord[] {
  const taken: TaskRecord[] = [];
  while (queues.every(({ tasks, isOver }) => tasks.length > 0 || isOver)) {
    const filled = queues.filter(({ tasks }) => tasks.length > 0);
    if (filled.length === 0) break;
    const first = filled.reduce((a, b) => (byUrgency(a.tasks[0]!, b.tasks[0]!) <= 0 ? a : b));
    taken.push(first.tasks.shift()!);
  }
  return taken;
}

function byUrgency({ id, value: a }: TaskRecord, { id: otherId, value: b }: TaskRecord): number {
  return b.priority - a.priority || a.dueOrder.getTime() - b.dueOrder.getTime() || (id < otherId ? -1 : 1);
}
