/** Who is asked to work on a task, and what they answer. */
import { invalid, StorageError } from '../../errors.js';
import type { JsonObject } from '../../backends/backend.js';
import type { Actor } from '../events.js';
import type { Unit } from '../unit.js';
import {
  assignmentId,
  ASSIGNMENTS,
  TASKS,
  type AssignmentRecord,
  type AssignmentStatus,
  type TaskRecord,
} from './records.js';

const NEXT: Readonly<Record<AssignmentStatus, readonly AssignmentStatus[]>> = {
  pending: ['accepted', 'declined'],
  accepted: ['completed', 'declined'],
  declined: [],
  completed: [],
};

/** So many people may have assignments of one task. */
const MOST_ASSIGNEES = 1_000;

export interface Place {
  readonly assigneeId: string;
  readonly role: string;
}

/** Asks someone. Whoever has the role already keeps it as it is. @throws `VALIDATION` */
export async function assignTask(
  unit: Unit,
  task: TaskRecord,
  known: AssignmentRecord | undefined,
  { assigneeId, role }: Place,
  metadata: JsonObject,
  tell: Tell,
): Promise<AssignmentRecord> {
  if (known !== undefined) return known;
  const { assigneeIds } = task.value;
  const isNew = !assigneeIds.includes(assigneeId);
  if (isNew && assigneeIds.length >= MOST_ASSIGNEES)
    throw invalid('assigneeId', assigneeId, `at most ${MOST_ASSIGNEES} people with assignments of one task`);
  const ids = isNew ? [...assigneeIds, assigneeId] : assigneeIds;
  const value = { taskId: task.id, assigneeId, role, status: 'pending', metadata } as const;
  const assignment = unit.insert(ASSIGNMENTS, value, { id: assignmentId(task.id, assigneeId, role) });
  tell(unit, unit.replace(TASKS, task, { ...task.value, assigneeIds: ids }), { assigneeId, role, to: 'pending' });
  return assignment;
}

/** @throws `INVALID_TRANSITION` */
export function answerAssignment(
  unit: Unit,
  task: TaskRecord,
  assignment: AssignmentRecord,
  to: AssignmentStatus,
  tell: Tell,
): AssignmentRecord {
  const { assigneeId, role, status: from } = assignment.value;
  if (from === to) return assignment;
  const allowed = NEXT[from];
  if (!allowed.includes(to))
    throw new StorageError('INVALID_TRANSITION', `The assignment ${assignment.id} is ${from} and cannot become ${to}`, {
      details: { id: assignment.id, from, to, allowed },
    });
  const answered = unit.replace(ASSIGNMENTS, assignment, { ...assignment.value, status: to });
  tell(unit, unit.replace(TASKS, task, task.value), { assigneeId, role, from, to });
  return answered;
}

/** Writes the event of the task as it is then. */
export type Tell = (unit: Unit, task: TaskRecord, payload: object) => void;

export function telling(tenantId: string, actor: Actor): Tell {
  return (unit, task, payload) => {
    unit.event(task, 'assignment', { taskId: task.id, tenantId, ...payload }, actor);
  };
}
