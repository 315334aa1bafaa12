/** Deleting tasks: one with all that hangs on it, or those that ended long ago. */
import type { CallOptions } from '../../component.js';
import { uuid } from '../arguments.js';
import type { Actor } from '../events.js';
import { callOptions, checkIfVersion } from '../store.js';
import { deleteArguments, retainArguments, retention } from './arguments.js';
import { childrenOf, countOf, detach, removeChildren, removeTask, withSubtasks } from './deletion.js';
import { deleteJobLinks } from './job-links.js';
import { TaskLinker, type TaskChangeOptions } from './linker.js';
import { ASSIGNMENTS, DEPENDENCIES, type TaskRecord } from './records.js';
import { deletable, endedBefore, RETAIN_AT_ONCE, type TaskRetention } from './retention.js';
import { DAY } from '../retention/days.js';

/** Days since the last change of what has ended; 0, null or absent: kept for ever. */
export interface TaskRetentionPolicy {
  readonly taskDays?: number | null | undefined;
}

/** So many tasks are deleted by one batch of a transaction. */
const DELETED_AT_ONCE = 400;
const NONE: TaskRetention = { tasks: 0, dependencies: 0, assignments: 0, events: 0, jobLinks: 0 };

export abstract class TaskRemover extends TaskLinker {
  /**
   * Deletes a task with its assignments, its events, its dependencies on either side, and the links of jobs that live on its
   * database. Subtasks that have ended stay as
   * tasks of their own. That it was deleted can be read from its events for 30 days.
   * @param options `cascade`: the subtasks go too, and theirs
   * @throws `NOT_FOUND`; `CONFLICT` (`details.reason` `subtasks`) for open subtasks without `cascade`.
   */
  async delete(
    id: string,
    options: TaskChangeOptions & { readonly cascade?: boolean | undefined } = {},
  ): Promise<void> {
    const taskId = uuid(id, 'id');
    const { ifVersion, cascade, ...actor } = deleteArguments(options, 'options');
    const call = callOptions(options);
    const { maxBatchItems } = this.host.backend.capabilities;
    const done = await this.decide('delete', call, async (unit, host) => {
      const task = await this.findTask(unit, taskId, 'delete');
      checkIfVersion(task, 'task', ifVersion);
      const { going, staying } = await withSubtasks(unit, task, cascade);
      const room = maxBatchItems - 2 * (going.length + staying.length);
      if (room < 0) return false;
      const ids = going.map((gone) => gone.id);
      const children = await childrenOf(unit, host, this.definition.events, ids, room);
      if (countOf(children) > room) return false;
      removeChildren(unit, this.definition.events, children);
      for (const gone of going) removeTask(unit, this.host.tenant, gone, actor);
      for (const subtask of staying) detach(unit, this.host.tenant, subtask, actor);
      return true;
    });
    if (done) return;
    await this.host.transaction(call, (host) => this.at(host).deleteLarge(taskId, { ifVersion, cascade }, actor, call));
  }

  /** In a transaction: more than one batch takes. */
  private async deleteLarge(
    taskId: string,
    { ifVersion, cascade }: { readonly ifVersion: number | undefined; readonly cascade: boolean },
    actor: Actor,
    call: CallOptions,
  ): Promise<void> {
    const { going, staying } = await this.reading('delete', call, async (unit) => {
      const task = await this.findTask(unit, taskId, 'delete');
      checkIfVersion(task, 'task', ifVersion);
      return withSubtasks(unit, task, cascade);
    });
    for (const some of chunks(going)) {
      const ids = some.map(({ id }) => id);
      await this.deleteChildren(ids, call);
      await this.decide('delete', call, async (unit) => {
        for (const task of some) removeTask(unit, this.host.tenant, task, actor);
      });
    }
    for (const some of chunks(staying))
      await this.decide('delete', call, async (unit) => {
        for (const subtask of some) detach(unit, this.host.tenant, subtask, actor);
      });
  }

  private async deleteChildren(ids: readonly string[], call: CallOptions): Promise<Omit<TaskRetention, 'tasks'>> {
    const named = { $in: ids };
    const events = await this.records(this.definition.events).deleteWhere({ aggregateId: named }, call);
    const assignments = await this.records(ASSIGNMENTS).deleteWhere({ taskId: named }, call);
    const jobLinks = await deleteJobLinks(this.host, ids, call);
    const either = { $or: [{ taskId: named }, { dependsOnId: named }] };
    const dependencies = await this.records(DEPENDENCIES).deleteWhere(either, call);
    return { dependencies, assignments, events, jobLinks };
  }

  /**
   * Deletes the tenant's tasks that have ended and were not changed for `taskDays` days, with all that hangs on them, at most
   * 500 records at a time, or one task with more than that in a transaction: a call that ends half-way is gone on with by the
   * next one. A task waits for its subtasks.
   * @param options `dryRun`: only counts; `timeout`: of each step
   * @returns how many were deleted, or would be, by kind
   */
  async retain(
    policy: TaskRetentionPolicy,
    options: CallOptions & { readonly dryRun?: boolean | undefined } = {},
  ): Promise<TaskRetention> {
    const { taskDays } = retention(policy, 'policy');
    const { dryRun } = retainArguments(options, 'options');
    const call = callOptions(options);
    if (taskDays === 0) return NONE;
    const cutoff = new Date(this.host.clock.now().getTime() - taskDays * DAY);
    return this.steps('retain', () => this.retainAll(cutoff, dryRun, call));
  }

  private async retainAll(cutoff: Date, dryRun: boolean, call: CallOptions): Promise<TaskRetention> {
    let report = NONE;
    const gone = new Set<string>();
    // Once more as long as parents may have lost the last of their subtasks.
    for (let again = true; again;) {
      again = false;
      for (let last: TaskRecord | undefined; ;) {
        const page = await this.reading('retain', call, (unit) => endedBefore(unit, cutoff, last));
        const ids = page.map(({ id }) => id).filter((id) => !gone.has(id));
        const step = await this.retainSome(ids, cutoff, gone, dryRun, call);
        again ||= step.tasks > 0 && page.some(({ value }) => value.parentTaskId !== undefined);
        report = sum(report, step);
        last = page.at(-1);
        if (last === undefined) break;
      }
    }
    return report;
  }

  private async retainSome(
    ids: readonly string[],
    cutoff: Date,
    gone: Set<string>,
    dryRun: boolean,
    call: CallOptions,
  ): Promise<TaskRetention> {
    const { events } = this.definition;
    const step = await this.decide('retain', call, async (unit, host) => {
      const tasks = await deletable(unit, ids, cutoff, dryRun ? gone : new Set());
      const named = tasks.map(({ id }) => id);
      const room = dryRun ? Infinity : RETAIN_AT_ONCE - 2 * tasks.length;
      const children = await childrenOf(unit, host, events, named, room);
      if (countOf(children) > room) return undefined;
      if (dryRun) return { tasks, children };
      for (const task of tasks) removeTask(unit, this.host.tenant, task, {});
      removeChildren(unit, events, children);
      return { tasks, children };
    });
    if (step === undefined && ids.length === 1)
      return this.host.transaction(call, (host) => this.at(host).retainLarge(ids[0]!, cutoff, call));
    const rest = (some: readonly string[]): Promise<TaskRetention> => this.retainSome(some, cutoff, gone, dryRun, call);
    const half = Math.ceil(ids.length / 2);
    if (step === undefined) return sum(await rest(ids.slice(0, half)), await rest(ids.slice(half)));
    if (dryRun) for (const { id } of step.tasks) gone.add(id);
    const { dependencies, assignments, events: told, jobLinks } = step.children;
    return {
      tasks: step.tasks.length,
      dependencies: dependencies.length,
      assignments: assignments.length,
      events: told.length,
      jobLinks: jobLinks.length,
    };
  }

  /** In a transaction: more than one step takes. Whoever writes the task meanwhile keeps it, and all of it. */
  private async retainLarge(id: string, cutoff: Date, call: CallOptions): Promise<TaskRetention> {
    const [task] = await this.reading('retain', call, (unit) => deletable(unit, [id], cutoff, new Set()));
    if (task === undefined) return NONE;
    const children = await this.deleteChildren([id], call);
    await this.decide('retain', call, async (unit) => removeTask(unit, this.host.tenant, task, {}));
    return { tasks: 1, ...children };
  }
}

function sum(a: TaskRetention, b: TaskRetention): TaskRetention {
  return {
    tasks: a.tasks + b.tasks,
    dependencies: a.dependencies + b.dependencies,
    assignments: a.assignments + b.assignments,
    events: a.events + b.events,
    jobLinks: a.jobLinks + b.jobLinks,
  };
}

function* chunks<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let i = 0; i < items.length; i += DELETED_AT_ONCE) yield items.slice(i, i + DELETED_AT_ONCE);
}
