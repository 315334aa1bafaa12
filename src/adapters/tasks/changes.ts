/** From what a caller says of a task to what is stored of it. */
import { jsonBytes } from '../../backends/value.js';
import { defined } from '../defined.js';
import { isDeepStrictEqual } from 'node:util';
import type { NewTaskValue, TaskChanges } from './arguments.js';
import type { Size } from '../unit-options.js';
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

/** Bytes of a task's record that callers do not fill: what 1,000 assignees, a status and a counter need to be written later. */
const RESERVED = 65_536;

/** How large a task may be where a caller fills it: it leaves room for what the store itself writes to it later. */
export function roomIn({ assigneeIds }: TaskValue): Size {
  return { room: RESERVED - jsonBytes(assigneeIds), as: 'task' };
}
