/** Reading tasks: one, lists of them, what hangs on them. */
import type { CallOptions } from '../../component.js';
import type { StoredRecord } from '../../collection/record-codec.js';
import { invalid } from '../../errors.js';
import type { JsonObject } from '../../backends/backend.js';
import { checkCursor } from '../../filter/cursor.js';
import { uuid } from '../arguments.js';
import type { EventValue, StoreEvent } from '../events.js';
import type { ListPage, PageOptions } from '../page.js';
import type { StoreHost } from '../host.js';
import { callOptions, Store } from '../store.js';
import { defineStore } from '../store-definition.js';
import type { Unit } from '../unit.js';
import {
  callArguments,
  getArguments,
  listArguments,
  listAssignmentsArguments,
  readyArguments,
  searchArguments,
  subtaskArguments,
  type TaskSort,
} from './arguments.js';
import { prerequisitesOf, type Prerequisite } from './dependencies.js';
import { tasksOfJob } from './job-links.js';
import { listFilter, listSort, searchFilter, timedCursor } from './queries.js';
import { readyTasks } from './ready.js';
import {
  ASSIGNMENTS,
  DEPENDENCIES,
  GRAPH,
  TASKS,
  type AssignmentStatus,
  type Task,
  type TaskAssignment,
  type TaskChange,
  type TaskDependency,
  type TaskRecord,
  type TaskStatus,
  type TaskValue,
} from './records.js';
import { satisfies } from './transitions.js';

export interface TaskFilter {
  /** None at all match an empty list. */
  readonly status?: TaskStatus | readonly TaskStatus[] | undefined;
  readonly ownerId?: string | undefined;
  readonly conversationId?: string | undefined;
}

export interface TaskListOptions extends TaskFilter, PageOptions {
  /** Who has an assignment, whatever its status. */
  readonly assigneeId?: string | undefined;
  /** A job that is linked to them: of its first 1,000 links. A cursor holds as long as the links stay as they are. */
  readonly jobId?: string | undefined;
  readonly parentTaskId?: string | undefined;
  /** Both ends are included. */
  readonly priorityMin?: number | undefined;
  readonly priorityMax?: number | undefined;
  /** Neither end is included; a text is a time of ISO 8601. */
  readonly dueBefore?: Date | string | undefined;
  readonly dueAfter?: Date | string | undefined;
  /** True: those that are open and were due before now. False: the others. */
  readonly overdue?: boolean | undefined;
  /** Default: `createdAt`. Tasks that are never due come last in either order. */
  readonly sort?: TaskSort | undefined;
  /** Default: `desc`, and `asc` for `dueAt`. */
  readonly order?: 'asc' | 'desc' | undefined;
}

export interface TaskSearch extends TaskFilter, CallOptions {
  /** A part of the title or of the description; ASCII letters match in either case. */
  readonly text?: string | undefined;
  /** Values of members of `metadata`: all must be equal. */
  readonly metadata?: Readonly<Record<string, string | number | boolean | null>> | undefined;
  /** 1 to 100; default 20. */
  readonly limit?: number | undefined;
  /** 0 to 10,000; default 0. */
  readonly offset?: number | undefined;
}

export interface AssignmentListOptions extends PageOptions {
  readonly taskId?: string | undefined;
  readonly assigneeId?: string | undefined;
  readonly status?: AssignmentStatus | undefined;
}

const STORE = defineStore('tasks', 'task', [TASKS, ASSIGNMENTS, DEPENDENCIES, GRAPH]);
const EVENTS_WITH_TASK = 1_000;

export abstract class TaskReader extends Store {
  constructor(host: StoreHost) {
    super(STORE, host);
  }

  /** What the database of the tasks can do: without atomic batches it only reads. */
  get capabilities(): { readonly read: true; readonly write: boolean } {
    return { read: true, write: this.host.backend.capabilities.batch === 'atomic' };
  }

  /** @param options `withEvents`: with the first 1,000 events, the oldest first. @throws `NOT_FOUND` */
  async get(id: string, options: CallOptions & { readonly withEvents: true }): Promise<TaskChange>;
  async get(id: string, options?: CallOptions & { readonly withEvents?: boolean | undefined }): Promise<Task>;
  async get(
    id: string,
    options: CallOptions & { readonly withEvents?: boolean | undefined } = {},
  ): Promise<Task | TaskChange> {
    const key = uuid(id, 'id');
    const { withEvents } = getArguments(options, 'options');
    return this.reading('get', callOptions(options), async (unit) => {
      const [record, events] = await Promise.all([
        unit.find(TASKS, key),
        withEvents ? this.eventsOf(unit, key) : undefined,
      ]);
      if (record === undefined) throw this.missing('task', key, 'get');
      return events === undefined ? this.task(record) : { ...this.task(record), events };
    });
  }

  private async eventsOf(unit: Unit, aggregateId: string): Promise<StoreEvent[]> {
    const sort = { aggregateId: 'asc', seq: 'asc' } as const;
    const found = await unit.query(this.definition.events, { aggregateId }, { sort, limit: EVENTS_WITH_TASK });
    return found.map((event: StoredRecord<EventValue>) => this.eventOf(event));
  }

  /** One page, the newest first unless said otherwise. @throws `INVALID_CURSOR`, `VALIDATION` */
  async list(options: TaskListOptions = {}): Promise<ListPage<Task>> {
    const asked = listArguments(options, 'options');
    const { sort, order = sort === 'dueAt' ? 'asc' : 'desc' } = asked;
    if (asked.overdue === undefined || options.after === undefined)
      return this.taskPage(asked, this.host.clock.now(), order, options);
    if (typeof options.after !== 'string') throw invalid('options.after', options.after, 'a cursor');
    const { now, after } = timedCursor.read(options.after);
    return this.taskPage(asked, now, order, { ...options, after });
  }

  private async taskPage(
    asked: ReturnType<typeof listArguments>,
    now: Date,
    order: 'asc' | 'desc',
    options: PageOptions,
  ): Promise<ListPage<Task>> {
    // The links are a part of the filter, and read before it is known: what is no cursor at all is refused first.
    if (asked.jobId !== undefined && options.after !== undefined) checkCursor(options.after);
    const ids = asked.jobId === undefined ? undefined : await tasksOfJob(this.host, asked.jobId, callOptions(options));
    const page = await this.page(TASKS, listFilter(asked, now, ids), listSort(asked.sort, order), options);
    const timed = (cursor: string): string => (asked.overdue === undefined ? cursor : timedCursor.write(cursor, now));
    return {
      items: page.items.map(shown),
      ...(page.next === undefined ? {} : { next: timed(page.next) }),
      ...(page.previous === undefined ? {} : { previous: timed(page.previous) }),
    };
  }

  /** The parts of a task, the oldest first. */
  async listSubtasks(id: string, options: PageOptions = {}): Promise<ListPage<Task>> {
    const parentTaskId = uuid(id, 'id');
    subtaskArguments(options, 'options');
    const page = await this.page(TASKS, { parentTaskId }, { id: 'asc' }, options);
    return { ...page, items: page.items.map(shown) };
  }

  /** How many match, and some of them, the newest first. */
  async search(options: TaskSearch = {}): Promise<{ readonly count: number; readonly items: Task[] }> {
    const asked = searchArguments(options, 'options');
    const filter = searchFilter(asked);
    const call = callOptions(options);
    const tasks = this.records(TASKS);
    await this.run('search', call, () => Promise.resolve());
    const [count, items] = await Promise.all([tasks.count(filter, call), this.skipTo(filter, asked, call)]);
    return { count, items };
  }

  private async skipTo(
    filter: ReturnType<typeof searchFilter>,
    { limit, offset }: { readonly limit: number; readonly offset: number },
    call: CallOptions,
  ): Promise<Task[]> {
    const tasks = this.records(TASKS);
    let found: TaskRecord[] = [];
    for (let skip = offset, after: string | undefined; ;) {
      const size = Math.min(1_000, skip + limit - found.length);
      const sort = { id: 'desc' } as const;
      const page = await tasks.query(filter, { ...call, sort, limit: size, ...(after === undefined ? {} : { after }) });
      found = [...found, ...page.items.slice(skip)];
      skip = Math.max(0, skip - page.items.length);
      after = page.next;
      if (after === undefined || found.length >= limit) return found.map((record) => this.task(record));
    }
  }

  /** Tasks not begun (draft or ready) that wait for nothing: the greatest priority first, then the earliest due. */
  async ready(options: CallOptions & { readonly limit?: number | undefined } = {}): Promise<Task[]> {
    const { limit } = readyArguments(options, 'options');
    const settings = this.host.settings.tasks;
    const found = await this.reading('ready', callOptions(options), (unit) =>
      readyTasks(unit, limit, (status) => satisfies(status, settings)),
    );
    return found.map((record) => this.task(record));
  }

  /** Whether every prerequisite that gates the task is complete. @throws `NOT_FOUND` */
  async dependenciesComplete(id: string, options: CallOptions = {}): Promise<boolean> {
    const prerequisites = await this.dependencyStatuses(id, options);
    const { tasks } = this.host.settings;
    return prerequisites.every(({ type, status }) => type === 'soft' || satisfies(status, tasks));
  }

  /** What the task waits for, and how far that is. @throws `NOT_FOUND` */
  async dependencyStatuses(id: string, options: CallOptions = {}): Promise<Prerequisite[]> {
    const key = uuid(id, 'id');
    callArguments(options, 'options');
    return this.reading('dependencyStatuses', callOptions(options), async (unit) => {
      const [task, prerequisites] = await Promise.all([unit.find(TASKS, key), prerequisitesOf(unit, [key])]);
      if (task === undefined) throw this.missing('task', key, 'dependencyStatuses');
      return prerequisites.get(key) ?? [];
    });
  }

  /** What a task waits for. */
  async listDependencies(id: string, options: PageOptions = {}): Promise<ListPage<TaskDependency>> {
    const taskId = uuid(id, 'id');
    subtaskArguments(options, 'options');
    return this.page(DEPENDENCIES, { taskId }, undefined, options);
  }

  /** What waits for a task. */
  async listDependents(id: string, options: PageOptions = {}): Promise<ListPage<TaskDependency>> {
    const dependsOnId = uuid(id, 'id');
    subtaskArguments(options, 'options');
    return this.page(DEPENDENCIES, { dependsOnId }, undefined, options);
  }

  async listAssignments(options: AssignmentListOptions = {}): Promise<ListPage<TaskAssignment>> {
    const { taskId, assigneeId, status } = listAssignmentsArguments(options, 'options');
    const filter: JsonObject = JSON.parse(JSON.stringify({ taskId, assigneeId, status })) as JsonObject;
    return this.page(ASSIGNMENTS, filter, undefined, options);
  }

  protected task(record: TaskRecord): Task {
    return shown(this.entity(record));
  }
}

function shown<T extends TaskValue>({ dueOrder: _, links: __, ...task }: T): Omit<T, 'dueOrder' | 'links'> {
  return task;
}
