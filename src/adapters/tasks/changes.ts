/** From what a caller says of a task to what is stored of it. */
import { defined } from '../defined.js';
import { isDeepStrictEqual } from 'node:util';
import type { NewTaskValue, TaskChanges } from './arguments.js';
import { dueOrderOf, type TaskValue } from './records.js';

export function newTaskValue(given: NewTaskValue): TaskValue {
  const value = { assigneeIds: [], dueOrder: dueOrderOf(given.dueAt), links: 0, ...given };
  return defined(value);
}

/** The changes that are none of what is there already. */
export function realChanges(value: TaskValue, changes: TaskChanges): TaskChanges {
  const known: Readonly<Record<string, unknown>> = { ...value };
  const real = Object.entries(changes).filter(([key, item]) => !isDeepStrictEqual(known[key] ?? null, item));
  return Object.fromEntries(real);
}

export function changedValue(value: TaskValue, changes: TaskChanges): TaskValue {
  const next = Object.entries({ ...value, ...changes }).filter(([, item]) => item !== null);
  const task = Object.fromEntries(next) as unknown as TaskValue;
  return { ...task, dueOrder: dueOrderOf(task.dueAt) };
}
