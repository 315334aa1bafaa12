/** `storage.tasks`: work to be done, in which order, by whom. */
import type { CallOptions } from '../component.js';
import { invalid } from '../errors.js';
import { uuid } from './arguments.js';
import type { Actor } from './events.js';
import { callOptions, checkIfVersion } from './store.js';
import {
  changeArguments,
  keyedArguments,
  manyTransitions,
  newTask,
  status as statusArgument,
  taskChanges,
  transitionArguments,
  transitionManyArguments,
} from './tasks/arguments.js';
import { changedValue, newTaskValue, realChanges, roomIn } from './tasks/changes.js';
import { conversationExists } from './tasks/conversation.js';
import { enterGraph } from './tasks/dependencies.js';
import type { KeyedOptions, TaskChangeOptions } from './tasks/linker.js';
import { TaskRemover } from './tasks/remover.js';
import { TASKS, type TaskChange, type TaskStatus } from './tasks/records.js';
import { checkNoLoop, linkToParent } from './tasks/subtasks.js';
import { latency, transitionAll } from './tasks/transitions.js';

export interface NewTask {
  /** 1 to 255 characters. */
  readonly title: string;
  /** Up to 64 KiB. */
  readonly description?: string | null | undefined;
  /** Default: `draft`. */
  readonly status?: TaskStatus | undefined;
  /** 0 to 100; default 0. */
  readonly priority?: number | undefined;
  readonly ownerId?: string | null | undefined;
  readonly sessionId?: string | null | undefined;
  readonly conversationId?: string | null | undefined;
  readonly parentTaskId?: string | null | undefined;
  /** A text is a time of ISO 8601. */
  readonly dueAt?: Date | string | null | undefined;
  /**
   * A JSON object. The whole task leaves 64 KiB of the largest record free, for what is written to it later; one that has
   * less is changed where it does not grow.
   */
  readonly metadata?: object | undefined;
}

/** What is left out stays, null clears. The status changes by `transition` alone. */
export type TaskUpdate = Partial<Omit<NewTask, 'status' | 'conversationId'>>;

export interface TaskTransition {
  readonly id: string;
  readonly status: TaskStatus;
  readonly ifVersion?: number | undefined;
  readonly reason?: string | undefined;
}

export class TaskStore extends TaskRemover {
  /** @throws `VALIDATION`, for a conversation or a parent that is not there too */
  async create(task: NewTask, options: KeyedOptions = {}): Promise<TaskChange> {
    const given = newTask(task, 'task');
    const { idempotencyKey, ...actor } = keyedArguments(options, 'options');
    const { conversationId, parentTaskId } = given;
    return this.decide('create', callOptions(options), async (unit, host) => {
      const [{ result, remember }, exists] = await Promise.all([
        unit.once('create', idempotencyKey, given),
        conversationId === undefined || conversationExists(host, conversationId),
      ]);
      if (result !== undefined) {
        const known = await unit.find(TASKS, result);
        if (known === undefined) throw this.forgotten('The task', result, 'create');
        return { events: [], ...this.task(known) };
      }
      if (!exists)
        throw invalid(
          'task.conversationId',
          conversationId,
          'the id of a conversation that is there (its first message makes it)',
        );
      if (parentTaskId !== undefined) await linkToParent(unit, parentTaskId, 'task.parentTaskId');
      const value = newTaskValue(given);
      const record = unit.insert(TASKS, value, roomIn(value));
      remember(record.id);
      const { status, ownerId } = given;
      const payload = { taskId: record.id, tenantId: this.host.tenant, status, ownerId };
      return { events: [unit.event(record, 'created', payload, actor)], ...this.task(record) };
    });
  }

  /**
   * Changes what is given. Its event tells what really changed.
   * @throws `NOT_FOUND`, `CONFLICT`, `VALIDATION`; `DEPENDENCY_CYCLE` for a parent that is below the task.
   */
  async update(id: string, changes: TaskUpdate, options: TaskChangeOptions = {}): Promise<TaskChange> {
    const taskId = uuid(id, 'id');
    const given = taskChanges(changes, 'changes');
    const { ifVersion, ...actor } = changeArguments(options, 'options');
    return this.decide('update', callOptions(options), async (unit) => {
      const task = await this.findTask(unit, taskId, 'update');
      checkIfVersion(task, 'task', ifVersion);
      const real = realChanges(task.value, given);
      if (Object.keys(real).length === 0) return { events: [], ...this.task(task) };
      const { parentTaskId, ownerId } = real;
      if (typeof parentTaskId === 'string') {
        const writeGraph = await enterGraph(unit);
        await checkNoLoop(unit, taskId, parentTaskId, 'changes.parentTaskId');
        await linkToParent(unit, parentTaskId, 'changes.parentTaskId');
        writeGraph();
      }
      const value = changedValue(task.value, real);
      const next = unit.replace(TASKS, task, value, roomIn(value));
      const payload = {
        taskId,
        tenantId: this.host.tenant,
        changes: real,
        ...(ownerId === undefined ? {} : { previousOwnerId: task.value.ownerId ?? null }),
        latencyMs: latency(unit, task),
      };
      return { events: [unit.event(next, 'updated', payload, actor)], ...this.task(next) };
    });
  }

  /**
   * Takes a task to a status; one that it has changes nothing.
   * @throws `NOT_FOUND`, `CONFLICT`; `INVALID_TRANSITION` with `details` `{ from, to, allowed }`; `DEPENDENCY_INCOMPLETE`
   * with `details.ids` of the tasks it waits for.
   */
  async transition(
    id: string,
    status: TaskStatus,
    options: TaskChangeOptions & { readonly reason?: string | undefined } = {},
  ): Promise<TaskChange> {
    const change = { id: uuid(id, 'id'), status: statusArgument(status, 'status') };
    const { ifVersion, reason, ...actor } = transitionArguments(options, 'options');
    const [changed] = await this.transitions('transition', [{ ...change, ifVersion, reason }], actor, options);
    return changed!;
  }

  /**
   * Up to 500 transitions, all of them or none, in their order: a later one may rest on an earlier one.
   * @throws as `transition`
   */
  async transitionMany(
    transitions: readonly TaskTransition[],
    options: CallOptions & Actor & { readonly reason?: string | undefined } = {},
  ): Promise<TaskChange[]> {
    const changes = manyTransitions(transitions, 'transitions');
    const { reason, ...actor } = transitionManyArguments(options, 'options');
    const reasoned = changes.map((change) => ({ ...change, reason: change.reason ?? reason }));
    return this.transitions('transitionMany', reasoned, actor, options);
  }

  private transitions(
    operation: string,
    changes: ReturnType<typeof manyTransitions>,
    actor: Actor,
    options: CallOptions,
  ): Promise<TaskChange[]> {
    const { tenant, settings } = this.host;
    return this.decide(operation, callOptions(options), async (unit) => {
      const ids = changes.map(({ id }) => id);
      const found = await unit.findMany(TASKS, ids);
      const transitions = found.map((task, i) => {
        const { id, ifVersion, status: to, reason } = changes[i]!;
        if (task === undefined) throw this.missing('task', id, operation);
        checkIfVersion(task, 'task', ifVersion);
        return { task, to, reason };
      });
      const changed = await transitionAll(unit, tenant, transitions, settings.tasks, actor);
      return changed.map(({ task, events }) => ({ events, ...this.task(task) }));
    });
  }
}
