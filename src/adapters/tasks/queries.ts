/** Filters and orders of the lists of tasks. */
import { ValidationError } from '../../errors.js';
import type { Sort } from '../../collection/options.js';
import type { Path } from '../../filter/paths.js';
import type { Filter } from '../../filter/syntax.js';
import { defined } from '../defined.js';
import type { listArguments, searchArguments, TaskSort } from './arguments.js';
import { OPEN, type TaskValue } from './records.js';

type ListArguments = ReturnType<typeof listArguments>;
type SearchArguments = ReturnType<typeof searchArguments>;
type Conditions = Record<string, unknown>;

/** @param ids the only ones there may be; absent: any */
export function listFilter(asked: ListArguments, now: Date, ids?: readonly string[]): Filter<TaskValue> {
  const { status, ownerId, conversationId, assigneeId, parentTaskId, priorityMin, priorityMax } = asked;
  const { dueBefore, dueAfter, overdue } = asked;
  const late = { status: { $in: OPEN }, dueAt: { $lt: now } };
  return conditions({
    status: status && { $in: status },
    ownerId,
    conversationId,
    parentTaskId,
    id: ids && { $in: ids },
    assigneeIds: assigneeId === undefined ? undefined : { $contains: assigneeId },
    priority: range({ $gte: priorityMin, $lte: priorityMax }),
    dueAt: range({ $lt: dueBefore, $gt: dueAfter }),
    $and: overdue === undefined ? undefined : [overdue ? late : { $not: late }],
  });
}

/** ASCII letters are found in either case, others as they are. */
export function searchFilter({ text, status, ownerId, conversationId, metadata }: SearchArguments): Filter<TaskValue> {
  const named = Object.entries(metadata ?? {}).map(([key, value]) => [`metadata.${key}`, value] as const);
  return conditions({
    ...Object.fromEntries(named),
    status: status && { $in: status },
    ownerId,
    conversationId,
    $or: text === undefined ? undefined : [{ title: { $icontains: text } }, { description: { $icontains: text } }],
  });
}

function range(ends: Conditions): Filter<TaskValue> | undefined {
  const given = conditions(ends);
  return Object.keys(given).length === 0 ? undefined : given;
}

function conditions(all: Conditions): Filter<TaskValue> {
  return defined(all);
}

/** The ids of tasks are in the order of their making. */
export function listSort(by: TaskSort, order: 'asc' | 'desc'): Sort<Path<TaskValue>> {
  switch (by) {
    case 'createdAt':
      return { id: order };
    case 'updatedAt':
      return { updatedAt: order, id: order };
    case 'priority':
      return { priority: order, id: order };
    case 'dueAt':
      return order === 'asc' ? { dueOrder: 'asc', id: 'asc' } : { dueAt: 'desc', id: 'desc' };
  }
}

/** What is overdue is so at the time of the first page; the cursors of a list of it carry that time. */
export const timedCursor = {
  write: (cursor: string, now: Date): string => `${now.getTime().toString(36)}.${cursor}`,
  /** @throws `INVALID_CURSOR` */
  read(cursor: string): { readonly now: Date; readonly after: string } {
    const [, time, after] = /^([0-9a-z]{1,10})\.(.+)$/s.exec(cursor) ?? [];
    const now = new Date(time === undefined ? NaN : Number.parseInt(time, 36));
    if (after === undefined || Number.isNaN(now.getTime()) || now.getUTCFullYear() > 9999)
      throw new ValidationError('INVALID_CURSOR', 'The cursor cannot be used: it is malformed', {
        details: { reason: 'it is malformed' },
      });
    return { now, after };
  },
};
