/** From what a caller says of a task to what is stored of it. */
import { jsonBytes } from '../../backends/value.js';
import { ValidationError } from '../../errors.js';
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

/** Bytes of a task's record that callers do not fill: what 1,000 assignees, a status and a counter need to be written later. */
const RESERVED = 65_536;

/** @throws `VALIDATION` for more than leaves room for what the store itself writes to the task later */
export function checkRoom({ assigneeIds: _, ...given }: TaskValue, maxRecordBytes: number, key: string): void {
  const most = maxRecordBytes - RESERVED;
  const bytes = jsonBytes(given);
  if (bytes <= most) return;
  throw new ValidationError('VALIDATION', `${key}: expected at most ${most} bytes of JSON, got ${bytes}`, {
    details: { key, bytes, maxBytes: most },
  });
}
