/** What is kept of tasks, and what a caller gets of it. */
import type { JsonObject } from '../../backends/backend.js';
import { LIMITS } from '../../backends/limits.js';
import { defineOwnCollection } from '../../collection/definition.js';
import { digest } from '../../collection/digest.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import type { StoreEvent } from '../events.js';
import type { Entity } from '../store.js';

export const TASK_STATUSES = ['draft', 'ready', 'in_progress', 'review', 'done', 'cancelled'] as const;
export type TaskStatus = (typeof TASK_STATUSES)[number];

export const ASSIGNMENT_STATUSES = ['pending', 'accepted', 'declined', 'completed'] as const;
export type AssignmentStatus = (typeof ASSIGNMENT_STATUSES)[number];

/** `blocks`: the prerequisite must be complete before the task goes on. `soft`: it is only told. */
export const DEPENDENCY_TYPES = ['blocks', 'soft'] as const;
export type DependencyType = (typeof DEPENDENCY_TYPES)[number];

interface TaskFields {
  readonly title: string;
  readonly description?: string;
  readonly status: TaskStatus;
  /** 0 to 100; the greater comes first. */
  readonly priority: number;
  readonly ownerId?: string;
  readonly sessionId?: string;
  readonly conversationId?: string;
  readonly parentTaskId?: string;
  /** Who has an assignment of it, whatever its status, in the order of the assignments. */
  readonly assigneeIds: readonly string[];
  readonly metadata: JsonObject;
  readonly dueAt?: Date;
}

export interface TaskValue extends TaskFields {
  /** `dueAt`, or the end of time: sorted by it, those without a time come last. */
  readonly dueOrder: Date;
  /** How often another task was linked to it: a write of it, for whoever deletes it at that moment. */
  readonly links: number;
}

export interface AssignmentValue {
  readonly taskId: string;
  readonly assigneeId: string;
  readonly role: string;
  readonly status: AssignmentStatus;
  readonly metadata: JsonObject;
}

export interface DependencyValue {
  readonly taskId: string;
  readonly dependsOnId: string;
  readonly type: DependencyType;
}

/** A task's version also grows when it gets a comment, an assignment, a subtask or a dependent. */
export type Task = Entity<TaskFields>;
export type TaskAssignment = Entity<AssignmentValue>;
export type TaskDependency = Entity<DependencyValue>;
/** What an operation made of a task, and the events of it: none when nothing changed. */
export type TaskChange = Task & { readonly events: readonly StoreEvent[] };

interface OfTask {
  readonly taskId: string;
  readonly tenantId: string;
}

/** The payloads of the store's events by type. `latencyMs`: since the task was written before. */
export interface TaskEvents {
  'task.created': OfTask & { readonly status: TaskStatus; readonly ownerId?: string };
  /** `changes`: the new values of what changed, null for what was cleared. `previousOwnerId` is there when the owner changed. */
  'task.updated': OfTask & {
    readonly changes: JsonObject;
    readonly previousOwnerId?: string | null;
    readonly latencyMs: number;
  };
  /** `success` is there when the task came to its end: true for done, false for cancelled. */
  'task.status_changed': OfTask & {
    readonly from: TaskStatus;
    readonly to: TaskStatus;
    readonly reason?: string;
    readonly success?: boolean;
    readonly latencyMs: number;
  };
  'task.comment': OfTask & { readonly text: string };
  /** `from` is absent for a new one. */
  'task.assignment': OfTask & {
    readonly assigneeId: string;
    readonly role: string;
    readonly from?: AssignmentStatus;
    readonly to: AssignmentStatus;
  };
  'task.dependency_added': OfTask & { readonly dependsOnId: string; readonly type: DependencyType };
  'task.dependency_removed': OfTask & { readonly dependsOnId: string };
  'task.deleted': OfTask & { readonly status: TaskStatus };
}

const EVENTS: { readonly [Type in keyof TaskEvents]: true } = {
  'task.created': true,
  'task.updated': true,
  'task.status_changed': true,
  'task.comment': true,
  'task.assignment': true,
  'task.dependency_added': true,
  'task.dependency_removed': true,
  'task.deleted': true,
};
/** The types that the store writes itself, without its prefix. */
export const OWN_EVENTS = Object.keys(EVENTS).map((type) => type.slice('task.'.length));

export const TASKS = defineOwnCollection<TaskValue>({
  name: 'qm_tasks',
  fields: {
    status: 'string',
    priority: 'number',
    ownerId: 'string',
    conversationId: 'string',
    parentTaskId: 'string',
    dueAt: 'date',
    dueOrder: 'date',
  },
  indexes: [
    { keys: ['status'] },
    { keys: ['status', ['priority', 'desc'], 'dueOrder'] },
    { keys: ['ownerId'] },
    { keys: ['ownerId', 'status'] },
    { keys: ['conversationId'] },
    { keys: ['parentTaskId'] },
    { keys: ['updatedAt'] },
    { keys: ['dueAt'] },
    { keys: ['dueOrder'] },
    { keys: ['priority'] },
  ],
});

/** Their ids are made of task, assignee and role: none is there twice. */
export const ASSIGNMENTS = defineOwnCollection<AssignmentValue>({
  name: 'qm_task_assignments',
  id: 'given',
  fields: { taskId: 'string', assigneeId: 'string', status: 'string' },
  indexes: [{ keys: ['taskId'] }, { keys: ['assigneeId', 'status'] }, { keys: ['status'] }],
});

/** Their ids are made of the two tasks. */
export const DEPENDENCIES = defineOwnCollection<DependencyValue>({
  name: 'qm_task_dependencies',
  id: 'given',
  fields: { taskId: 'string', dependsOnId: 'string', type: 'string' },
  indexes: [{ keys: ['taskId'] }, { keys: ['dependsOnId'] }],
});

/** One record a tenant, which every write that could close a circle of tasks replaces: two such at once are one after another. */
export const GRAPH = defineOwnCollection<{ readonly changes: number }>({ name: 'qm_task_graph', id: 'given' });
export const GRAPH_ID = 'graph';

export type TaskRecord = StoredRecord<TaskValue>;
export type DependencyRecord = StoredRecord<DependencyValue>;
export type AssignmentRecord = StoredRecord<AssignmentValue>;

const END_OF_TIME = '9999-12-31T23:59:59.999Z';

export function dueOrderOf(dueAt: Date | undefined): Date {
  return dueAt ?? new Date(END_OF_TIME);
}

export function isTerminal(status: TaskStatus): boolean {
  return status === 'done' || status === 'cancelled';
}

export const TERMINAL: readonly TaskStatus[] = TASK_STATUSES.filter(isTerminal);
export const OPEN: readonly TaskStatus[] = TASK_STATUSES.filter((status) => !isTerminal(status));

export function dependencyId(taskId: string, dependsOnId: string): string {
  return `${taskId}:${dependsOnId}`;
}

/** A role that would make it longer than an id may be stands in it by its digest, which with its colon is no role. */
export function assignmentId(taskId: string, assigneeId: string, role: string): string {
  const id = `${taskId}:${assigneeId}:${role}`;
  return Buffer.byteLength(id) <= LIMITS.idBytes ? id : `${taskId}:${assigneeId}::${digest(role)}`;
}
