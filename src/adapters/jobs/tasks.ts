/** The tasks that jobs are linked to, as the store of tasks keeps them. */
import type { StoreHost } from '../host.js';
import { TASKS, type TaskStatus } from '../tasks/records.js';

export interface TaskSnapshot {
  readonly id: string;
  readonly title: string;
  readonly status: TaskStatus;
  readonly conversationId?: string;
}

/** In the order of the ids; `undefined` for a task that is gone, or another tenant's. */
export async function findTasks(host: StoreHost, ids: readonly string[]): Promise<(TaskSnapshot | undefined)[]> {
  if (ids.length === 0) return [];
  const found = await host.collection('tasks', TASKS).getMany([...ids]);
  return found.map((record) => {
    if (record === undefined) return undefined;
    const { title, status, conversationId } = record.value;
    return { id: record.id, title, status, ...(conversationId === undefined ? {} : { conversationId }) };
  });
}

/** A task that is gone blocks nothing. */
export function isTaskOver(task: TaskSnapshot | undefined): boolean {
  return task === undefined || task.status === 'done' || task.status === 'cancelled';
}
