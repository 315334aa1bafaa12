/** Which tasks can be begun: what is a draft or ready, each read in the order of its index, and what of it waits for nothing. */
import { compareText } from '../../filter/evaluate.js';
import type { Unit } from '../unit.js';
import { prerequisitesOf } from './dependencies.js';
import { TASKS, type TaskRecord, type TaskStatus } from './records.js';

const FEWEST = 20;
const MOST = 200;

/** Tasks of one status that are read and not yet taken, the most urgent first. */
interface Queue {
  readonly status: TaskStatus;
  tasks: TaskRecord[];
  /** The last that was taken. */
  last?: TaskRecord;
  isOver: boolean;
}

/** Tasks not begun that wait for nothing, the most urgent first: four reads for some hundred of them. */
export async function readyTasks(
  unit: Unit,
  limit: number,
  satisfied: (status: TaskStatus) => boolean,
): Promise<TaskRecord[]> {
  const open: TaskRecord[] = [];
  const met = new Set<string>();
  const [drafts, ready] = (['draft', 'ready'] as const).map((status): Queue => ({ status, tasks: [], isOver: false }));
  // More than are wanted: some will wait for others.
  const page = Math.min(Math.max(2 * limit, FEWEST), MOST);
  for (;;) {
    await readOn(unit, drafts!, ready!, page);
    const taken = takeFirst([ready!, drafts!]);
    // What became ready after it was read as a draft is met as both.
    const tasks = taken.filter(({ id }) => !met.has(id) && met.add(id));
    const prerequisites = await prerequisitesOf(
      unit,
      tasks.map(({ id }) => id),
      'blocks',
    );
    for (const task of tasks)
      if ((prerequisites.get(task.id) ?? []).every(({ status }) => satisfied(status))) open.push(task);
    if (taken.length === 0 || open.length >= limit) return open.slice(0, limit);
  }
}

/**
 * Drafts become ready, never the other way: where those that are ready are read after the drafts of the same places, none falls
 * between the two. So they are read again with each page of drafts.
 */
async function readOn(unit: Unit, drafts: Queue, ready: Queue, limit: number): Promise<void> {
  if (await readPage(unit, drafts, limit)) {
    ready.tasks = [];
    ready.isOver = false;
  }
  await readPage(unit, ready, limit);
}

/** Reads more when none is left. @returns whether it did */
async function readPage(unit: Unit, queue: Queue, limit: number): Promise<boolean> {
  if (queue.tasks.length > 0 || queue.isOver) return false;
  const { status, last } = queue;
  const sort = { priority: 'desc', dueOrder: 'asc' } as const;
  queue.tasks = await unit.query(TASKS, { status }, { sort, limit, after: last });
  queue.isOver = queue.tasks.length < limit;
  return true;
}

/** The first of all, as far as each queue has been read. */
function takeFirst(queues: readonly Queue[]): TaskRecord[] {
  const taken: TaskRecord[] = [];
  while (queues.every(({ tasks, isOver }) => tasks.length > 0 || isOver)) {
    const filled = queues.filter(({ tasks }) => tasks.length > 0);
    if (filled.length === 0) break;
    const first = filled.reduce((a, b) => (byUrgency(a.tasks[0]!, b.tasks[0]!) <= 0 ? a : b));
    first.last = first.tasks.shift()!;
    taken.push(first.last);
  }
  return taken;
}

function byUrgency({ id, value: a }: TaskRecord, { id: otherId, value: b }: TaskRecord): number {
  return b.priority - a.priority || a.dueOrder.getTime() - b.dueOrder.getTime() || compareText(id, otherId);
}
