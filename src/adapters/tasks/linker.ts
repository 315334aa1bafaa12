/** What ties a task to others: the tasks it waits for, the people it is given to, what is said of it. */
import type { CallOptions } from '../../component.js';
import { ConflictError } from '../../errors.js';
import { uuid } from '../arguments.js';
import type { Actor, StoreEvent } from '../events.js';
import { callOptions, checkIfVersion, type ChangeOptions } from '../store.js';
import type { Unit } from '../unit.js';
import {
  answer,
  answerArguments,
  assignArguments,
  changeArguments,
  dependencyArguments,
  keyedArguments,
  newComment,
  newEvent,
  recordArguments,
} from './arguments.js';
import { answerAssignment, assignTask, telling } from './assignments.js';
import { checkNoCycle, cycle, enterGraph } from './dependencies.js';
import { TaskReader } from './reader.js';
import {
  assignmentId,
  ASSIGNMENTS,
  DEPENDENCIES,
  dependencyId,
  isTerminal,
  TASKS,
  type AssignmentStatus,
  type DependencyType,
  type TaskAssignment,
  type TaskDependency,
  type TaskRecord,
} from './records.js';
import { link } from './subtasks.js';

/** Who does it is told by the events. */
export interface TaskChangeOptions extends ChangeOptions, Actor {}

/** What adds something, once under a key however often it is asked for within 24 hours. */
export interface KeyedOptions extends CallOptions, Actor {
  /** Up to 255 bytes. The same key with other content: `CONFLICT`. */
  readonly idempotencyKey?: string | undefined;
}

interface Recorded {
  readonly type: string;
  readonly payload: object;
  readonly actor: Actor;
  readonly idempotencyKey: string | undefined;
}

export abstract class TaskLinker extends TaskReader {
  /**
   * Lets a task wait for another one; there already, only its type is changed. `ifVersion` is the waiting task's.
   * @param options `type`: `soft` is told and gates nothing; default `blocks`
   * @throws `NOT_FOUND`; `CONFLICT` when the task has ended; `DEPENDENCY_CYCLE` with `details.path`.
   */
  async addDependency(
    id: string,
    dependsOnId: string,
    options: TaskChangeOptions & { readonly type?: DependencyType | undefined } = {},
  ): Promise<TaskDependency> {
    const taskId = uuid(id, 'id');
    const otherId = uuid(dependsOnId, 'dependsOnId');
    const { type, ifVersion, ...actor } = dependencyArguments(options, 'options');
    if (taskId === otherId) throw cycle([taskId, taskId]);
    const added = await this.decide('addDependency', callOptions(options), async (unit) => {
      const [[task, other], known, writeGraph] = await Promise.all([
        unit.findMany(TASKS, [taskId, otherId]),
        unit.find(DEPENDENCIES, dependencyId(taskId, otherId)),
        enterGraph(unit),
      ]);
      if (task === undefined) throw this.missing('task', taskId, 'addDependency');
      if (other === undefined) throw this.missing('task', otherId, 'addDependency');
      checkIfVersion(task, 'task', ifVersion);
      if (known?.value.type === type) return known;
      if (isTerminal(task.value.status))
        throw new ConflictError('CONFLICT', `The task ${taskId} is ${task.value.status}: it waits for nothing more`, {
          details: { id: taskId, reason: 'terminal' },
        });
      const value = { taskId, dependsOnId: otherId, type };
      const payload = { ...value, tenantId: this.host.tenant };
      if (known === undefined) {
        await checkNoCycle(unit, taskId, otherId);
        link(unit, otherId);
        writeGraph();
      }
      unit.event(unit.replace(TASKS, task, task.value), 'dependency_added', payload, actor);
      return known === undefined
        ? unit.insert(DEPENDENCIES, value, { id: dependencyId(taskId, otherId) })
        : unit.replace(DEPENDENCIES, known, value);
    });
    return this.entity(added);
  }

  /** @returns whether it was there. @throws `NOT_FOUND` for the task */
  async removeDependency(id: string, dependsOnId: string, options: TaskChangeOptions = {}): Promise<boolean> {
    const taskId = uuid(id, 'id');
    const otherId = uuid(dependsOnId, 'dependsOnId');
    const { ifVersion, ...actor } = changeArguments(options, 'options');
    return this.decide('removeDependency', callOptions(options), async (unit) => {
      const [task, known] = await Promise.all([
        this.findTask(unit, taskId, 'removeDependency'),
        unit.find(DEPENDENCIES, dependencyId(taskId, otherId)),
      ]);
      checkIfVersion(task, 'task', ifVersion);
      if (known === undefined) return false;
      unit.remove(DEPENDENCIES, known);
      const payload = { taskId, tenantId: this.host.tenant, dependsOnId: otherId };
      unit.event(unit.replace(TASKS, task, task.value), 'dependency_removed', payload, actor);
      return true;
    });
  }

  /**
   * Asks someone to take a role in a task; who has it already keeps it.
   * @param options `role`: up to 64 characters; default `participant`
   * @throws `NOT_FOUND`
   */
  async assign(
    id: string,
    assigneeId: string,
    options: TaskChangeOptions & { readonly role?: string | undefined; readonly metadata?: object | undefined } = {},
  ): Promise<TaskAssignment> {
    const taskId = uuid(id, 'id');
    const who = uuid(assigneeId, 'assigneeId');
    const { role, metadata, ifVersion, ...actor } = assignArguments(options, 'options');
    const assigned = await this.decide('assign', callOptions(options), async (unit) => {
      const [task, known] = await Promise.all([
        this.findTask(unit, taskId, 'assign'),
        unit.find(ASSIGNMENTS, assignmentId(taskId, who, role)),
      ]);
      checkIfVersion(task, 'task', ifVersion);
      return assignTask(unit, task, known, { assigneeId: who, role }, metadata, telling(this.host.tenant, actor));
    });
    return this.entity(assigned);
  }

  /** Accepts or declines a role. @throws `NOT_FOUND`, `INVALID_TRANSITION` */
  async respond(
    id: string,
    assigneeId: string,
    status: 'accepted' | 'declined',
    options: TaskChangeOptions & { readonly role?: string | undefined } = {},
  ): Promise<TaskAssignment> {
    return this.answer('respond', id, assigneeId, answer(status, 'status'), options);
  }

  /** Ends an accepted assignment. @throws `NOT_FOUND`, `INVALID_TRANSITION` */
  async completeAssignment(
    id: string,
    assigneeId: string,
    options: TaskChangeOptions & { readonly role?: string | undefined } = {},
  ): Promise<TaskAssignment> {
    return this.answer('completeAssignment', id, assigneeId, 'completed', options);
  }

  private async answer(
    operation: string,
    id: string,
    assigneeId: string,
    status: AssignmentStatus,
    options: TaskChangeOptions & { readonly role?: string | undefined },
  ): Promise<TaskAssignment> {
    const taskId = uuid(id, 'id');
    const who = uuid(assigneeId, 'assigneeId');
    const { role, ifVersion, ...actor } = answerArguments(options, 'options');
    const key = assignmentId(taskId, who, role);
    const answered = await this.decide(operation, callOptions(options), async (unit) => {
      const [task, known] = await Promise.all([this.findTask(unit, taskId, operation), unit.find(ASSIGNMENTS, key)]);
      if (known === undefined) throw this.missing('assignment', key, operation);
      checkIfVersion(task, 'task', ifVersion);
      return answerAssignment(unit, task, known, status, telling(this.host.tenant, actor));
    });
    return this.entity(answered);
  }

  /** Says something of a task: an event `task.comment`. @throws `NOT_FOUND` */
  async comment(id: string, comment: { readonly text: string }, options: KeyedOptions = {}): Promise<StoreEvent> {
    const taskId = uuid(id, 'id');
    const payload = { taskId, tenantId: this.host.tenant, ...newComment(comment, 'comment') };
    const { idempotencyKey, ...actor } = keyedArguments(options, 'options');
    return this.record('comment', taskId, { type: 'comment', payload, actor, idempotencyKey }, options);
  }

  /**
   * Leaves an event of the caller's own kind with a task: `task.` and `eventType`, which is none of the store's own.
   * @throws `NOT_FOUND`
   */
  async recordEvent(
    id: string,
    event: { readonly eventType: string; readonly payload?: object | undefined } & Actor,
    options: CallOptions & { readonly idempotencyKey?: string | undefined } = {},
  ): Promise<StoreEvent> {
    const taskId = uuid(id, 'id');
    const { eventType, payload, ...actor } = newEvent(event, 'event');
    const { idempotencyKey } = recordArguments(options, 'options');
    return this.record('recordEvent', taskId, { type: eventType, payload, actor, idempotencyKey }, options);
  }

  private async record(
    operation: string,
    taskId: string,
    { type, payload, actor, idempotencyKey }: Recorded,
    options: CallOptions,
  ): Promise<StoreEvent> {
    return this.decide(operation, callOptions(options), async (unit) => {
      const { events } = this.definition;
      const content = { taskId, type, payload };
      const { result, remember } = await unit.once(operation, idempotencyKey, content);
      if (result !== undefined) {
        const told = await unit.find(events, result);
        if (told === undefined) throw this.forgotten('The event', result, operation);
        return this.eventOf(told);
      }
      const task = await this.findTask(unit, taskId, operation);
      const event = unit.event(unit.replace(TASKS, task, task.value), type, payload, actor);
      remember(event.id);
      return event;
    });
  }

  /** @throws `NOT_FOUND` */
  protected async findTask(unit: Unit, id: string, operation: string): Promise<TaskRecord> {
    const task = await unit.find(TASKS, id);
    if (task === undefined) throw this.missing('task', id, operation);
    return task;
  }
}
