/** The tasks and the people of a job, and what is noted of it. */
import type { CallOptions } from '../../component.js';
import { invalid, StorageError } from '../../errors.js';
import type { Actor, StoreEvent } from '../events.js';
import { checkIfVersion, type ChangeOptions } from '../store.js';
import { OPTIONS, readAssignment, readAssignmentStatus, readEvent, readId, readLink, readUnlink } from './arguments.js';
import {
  ASSIGNMENTS,
  LINKS,
  type AssignmentValue,
  type JobAssignment,
  type JobLink,
  type LinkValue,
} from './records.js';
import { DeclarationOperations } from './declaration-operations.js';
import { findTasks, type TaskSnapshot } from './tasks.js';

/** A link with its task as it is now; a task that is gone is absent. */
export type LinkedTask = JobLink & { readonly task?: TaskSnapshot };
export type AssignmentChange = JobAssignment & { readonly events: readonly StoreEvent[] };

type AssignmentStatus = AssignmentValue['status'];
const ANSWERS: Readonly<Record<AssignmentStatus, readonly AssignmentStatus[]>> = {
  pending: ['accepted', 'declined'],
  accepted: ['completed', 'declined'],
  declined: [],
  completed: [],
};

export abstract class LinkOperations extends DeclarationOperations {
  /**
   * Links a task of the tenant's to a job; one that is linked is given as it is. `ifVersion` is the job's.
   * @throws `NOT_FOUND` for the job, `CONFLICT`, `VALIDATION` for a task that is not there
   */
  async linkTask(
    jobId: string,
    taskId: string,
    link: { readonly relationshipType?: string | undefined; readonly metadata?: object | undefined } = {},
    options: ChangeOptions & Actor = {},
  ): Promise<LinkedTask> {
    const { ifVersion, ...actor } = OPTIONS.change(options, 'options');
    const ids = { jobId: readId(jobId, 'jobId'), taskId: readId(taskId, 'taskId') };
    const given = readLink(link, 'link');
    return this.change('linkTask', options, async (unit, host) => {
      const [job, [known], [task]] = await Promise.all([
        this.findJob(unit, ids.jobId, 'linkTask'),
        unit.query(LINKS, ids, { limit: 1 }),
        findTasks(host, [ids.taskId]),
      ]);
      checkIfVersion(job, 'job', ifVersion);
      if (known !== undefined) return { ...this.entity(known), ...(task === undefined ? {} : { task }) };
      if (task === undefined) throw invalid('taskId', taskId, "a task of the tenant's");
      const record = unit.insert<LinkValue>(LINKS, { ...ids, ...given });
      const { relationshipType } = given;
      this.touch(unit, job, 'task_linked', { taskId: ids.taskId, relationshipType }, actor);
      return { ...this.entity(record), task };
    });
  }

  /** Gives the link that was. `ifVersion` is the job's. @throws `NOT_FOUND`, `CONFLICT`, `VALIDATION` when neither is named */
  async unlinkTask(
    jobId: string,
    which: { readonly linkId?: string | undefined; readonly taskId?: string | undefined },
    options: ChangeOptions & Actor = {},
  ): Promise<JobLink> {
    const { ifVersion, ...actor } = OPTIONS.change(options, 'options');
    const id = readId(jobId, 'jobId');
    const { linkId, taskId } = readUnlink(which, 'which');
    if (linkId === undefined && taskId === undefined) throw invalid('which', which, 'linkId or taskId');
    return this.change('unlinkTask', options, async (unit) => {
      const filter = {
        jobId: id,
        ...(linkId === undefined ? {} : { id: linkId }),
        ...(taskId === undefined ? {} : { taskId }),
      };
      const [job, [link]] = await Promise.all([
        this.findJob(unit, id, 'unlinkTask'),
        unit.query(LINKS, filter, { limit: 1 }),
      ]);
      checkIfVersion(job, 'job', ifVersion);
      if (link === undefined) throw this.missing('The link of the job', linkId ?? taskId!, 'unlinkTask');
      unit.remove(LINKS, link);
      const { taskId: task, relationshipType } = link.value;
      this.touch(unit, job, 'task_unlinked', { taskId: task, relationshipType }, actor);
      return this.entity(link);
    });
  }

  /** The first linked first; at most 1,000. @throws `NOT_FOUND` */
  async listLinkedTasks(jobId: string, options: CallOptions = {}): Promise<readonly LinkedTask[]> {
    OPTIONS.read(options, 'options');
    const id = readId(jobId, 'jobId');
    return this.reading('listLinkedTasks', options, async (unit) => {
      const [, links] = await Promise.all([
        this.findJob(unit, id, 'listLinkedTasks'),
        unit.query(LINKS, { jobId: id }, { sort: { createdAt: 'asc' } }),
      ]);
      const tasks = await findTasks(
        this.host,
        links.map(({ value }) => value.taskId),
      );
      return links.map((link, i) => ({
        ...this.entity(link),
        ...(tasks[i] === undefined ? {} : { task: tasks[i] }),
      }));
    });
  }

  /** Whether every linked task that is there is done or cancelled. @throws `NOT_FOUND` */
  async dependenciesComplete(jobId: string, options: CallOptions = {}): Promise<boolean> {
    OPTIONS.read(options, 'options');
    const id = readId(jobId, 'jobId');
    return this.reading('dependenciesComplete', options, async (unit) => {
      await this.findJob(unit, id, 'dependenciesComplete');
      return (await this.openTasks(unit, this.host, id)).length === 0;
    });
  }

  /** Notes something that happened to the job: an event `job.` and its type, which is none of the store's own. @throws `NOT_FOUND`, `CONFLICT` */
  async recordEvent(
    jobId: string,
    event: { readonly eventType: string; readonly payload?: object | undefined },
    options: ChangeOptions & Actor = {},
  ): Promise<StoreEvent> {
    const { ifVersion, ...actor } = OPTIONS.change(options, 'options');
    const id = readId(jobId, 'jobId');
    const { eventType, payload } = readEvent(event, 'event');
    return this.change('recordEvent', options, async (unit) => {
      const job = await this.findJob(unit, id, 'recordEvent');
      checkIfVersion(job, 'job', ifVersion);
      this.touch(unit, job, eventType, payload, actor);
      return unit.events[0]!;
    });
  }

  /** Asks somebody to take part; who is asked already is given as it is. `ifVersion` is the job's. @throws `NOT_FOUND`, `CONFLICT` */
  async assign(
    jobId: string,
    assigneeId: string,
    assignment: { readonly role?: string | undefined; readonly metadata?: object | undefined } = {},
    options: ChangeOptions & Actor = {},
  ): Promise<AssignmentChange> {
    const { ifVersion, ...actor } = OPTIONS.change(options, 'options');
    const ids = { jobId: readId(jobId, 'jobId'), assigneeId: readId(assigneeId, 'assigneeId') };
    const { role, metadata } = readAssignment(assignment, 'assignment');
    return this.change('assign', options, async (unit) => {
      const [job, [known]] = await Promise.all([
        this.findJob(unit, ids.jobId, 'assign'),
        unit.query(ASSIGNMENTS, { ...ids, role }, { limit: 1 }),
      ]);
      checkIfVersion(job, 'job', ifVersion);
      if (known !== undefined) return { ...this.entity(known), events: [] };
      const record = unit.insert<AssignmentValue>(ASSIGNMENTS, { ...ids, role, status: 'pending', metadata });
      const payload = { assigneeId: ids.assigneeId, role, from: null, to: 'pending' };
      this.touch(unit, job, 'assignment', payload, actor);
      return { ...this.entity(record), events: unit.events };
    });
  }

  /** What somebody answers: accepted or declined, then completed. @throws `NOT_FOUND`, `INVALID_TRANSITION`, `CONFLICT` */
  async setAssignmentStatus(
    assignmentId: string,
    status: AssignmentStatus,
    options: ChangeOptions & Actor = {},
  ): Promise<AssignmentChange> {
    const { ifVersion, ...actor } = OPTIONS.change(options, 'options');
    const id = readId(assignmentId, 'assignmentId');
    const to = readAssignmentStatus(status, 'status');
    return this.change('setAssignmentStatus', options, async (unit) => {
      const known = await unit.find(ASSIGNMENTS, id);
      if (known === undefined) throw this.missing('The assignment', id, 'setAssignmentStatus');
      checkIfVersion(known, 'assignment', ifVersion);
      const { status: from, assigneeId, role } = known.value;
      if (from === to) return { ...this.entity(known), events: [] };
      if (!ANSWERS[from].includes(to))
        throw new StorageError('INVALID_TRANSITION', `An assignment that is ${from} cannot become ${to}`, {
          component: 'jobs',
          details: { from, to, allowed: [...ANSWERS[from]] },
        });
      const job = await this.findJob(unit, known.value.jobId, 'setAssignmentStatus');
      const next = unit.replace<AssignmentValue>(ASSIGNMENTS, known, { ...known.value, status: to });
      this.touch(unit, job, 'assignment', { assigneeId, role, from, to }, actor);
      return { ...this.entity(next), events: unit.events };
    });
  }

  /** The first asked first; at most 1,000. */
  async listAssignments(jobId: string, options: CallOptions = {}): Promise<readonly JobAssignment[]> {
    OPTIONS.read(options, 'options');
    const id = readId(jobId, 'jobId');
    return this.reading('listAssignments', options, async (unit) => {
      const found = await unit.query(ASSIGNMENTS, { jobId: id }, { sort: { createdAt: 'asc' } });
      return found.map((record) => this.entity(record));
    });
  }
}
