/** What callers say of tasks, as it is read. */
import { invalid } from '../../errors.js';
import { isPlainObject } from '../../filter/json.js';
import {
  characters,
  choice,
  eventPayload,
  flag,
  instant,
  integer,
  jsonObject,
  list,
  nullable,
  oneOrMany,
  optional,
  partial,
  shape,
  text,
  uuid,
  withDefault,
  type Reader,
} from '../arguments.js';
import {
  ACTOR_MEMBERS,
  CALL_MEMBERS,
  CHANGE_MEMBERS,
  CREATE_MEMBERS,
  idempotencyKey,
  ifVersion,
  PAGE_MEMBERS,
} from '../options.js';
import { ASSIGNMENT_STATUSES, DEPENDENCY_TYPES, OWN_EVENTS, TASK_STATUSES } from './records.js';

export const callArguments = shape(CALL_MEMBERS);
export const changeArguments = shape(CHANGE_MEMBERS);
export const keyedArguments = shape(CREATE_MEMBERS);
export const recordArguments = shape({ ...CALL_MEMBERS, idempotencyKey });
export const getArguments = shape({ ...CALL_MEMBERS, withEvents: withDefault(flag, false) });
export const transitionArguments = shape({ ...CHANGE_MEMBERS, reason: optional(text(1_020)) });
export const transitionManyArguments = shape({ ...CALL_MEMBERS, ...ACTOR_MEMBERS, reason: optional(text(1_020)) });
export const deleteArguments = shape({ ...CHANGE_MEMBERS, cascade: withDefault(flag, false) });
export const readyArguments = shape({ ...CALL_MEMBERS, limit: withDefault(integer(1, 100), 50) });
export const subtaskArguments = shape(PAGE_MEMBERS);
export const dependencyArguments = shape({ ...CHANGE_MEMBERS, type: withDefault(choice(DEPENDENCY_TYPES), 'blocks') });
export const retainArguments = shape({ ...CALL_MEMBERS, dryRun: withDefault(flag, false) });

const PRIORITY = integer(0, 100);
const DESCRIPTION = text(65_536);

const title = characters(255);
const ROLE = withDefault(characters(64), 'participant');

export const status = choice(TASK_STATUSES);

export const newTask = shape({
  title,
  description: optional(DESCRIPTION),
  status: withDefault(status, 'draft'),
  priority: withDefault(PRIORITY, 0),
  ownerId: optional(uuid),
  sessionId: optional(uuid),
  conversationId: optional(uuid),
  parentTaskId: optional(uuid),
  dueAt: optional(instant),
  metadata: withDefault(jsonObject, {}),
});
export type NewTaskValue = ReturnType<typeof newTask>;

const changesOfTask = partial({
  title,
  description: nullable(DESCRIPTION),
  priority: PRIORITY,
  ownerId: nullable(uuid),
  sessionId: nullable(uuid),
  parentTaskId: nullable(uuid),
  metadata: jsonObject,
  dueAt: nullable(instant),
});
export type TaskChanges = ReturnType<typeof changesOfTask>;

/** @throws `VALIDATION`, for no changes at all too */
export const taskChanges: Reader<TaskChanges> = (value, key) => {
  if (isPlainObject(value) && value['status'] !== undefined)
    throw invalid(`${key}.status`, value['status'], 'none: a status is changed by transition()');
  const changes = changesOfTask(value, key);
  if (Object.keys(changes).length === 0) throw invalid(key, value, 'at least one change');
  return changes;
};

const transitions = list(shape({ id: uuid, status, ifVersion, reason: optional(text(1_020)) }), 500);

/** @throws `VALIDATION`, for a task that is named twice too */
export const manyTransitions: typeof transitions = (value, key) => {
  const read = transitions(value, key);
  const twice = read.findIndex(({ id }, i) => read.findIndex((other) => other.id === id) !== i);
  if (twice >= 0) throw invalid(`${key}[${twice}].id`, read[twice]!.id, 'each task once');
  return read;
};

/** An empty list matches nothing. */
const statuses = optional(oneOrMany(status));

const SORTS = ['createdAt', 'updatedAt', 'dueAt', 'priority'] as const;
export type TaskSort = (typeof SORTS)[number];

export const listArguments = shape({
  ...PAGE_MEMBERS,
  status: statuses,
  ownerId: optional(uuid),
  conversationId: optional(uuid),
  assigneeId: optional(uuid),
  jobId: optional(uuid),
  parentTaskId: optional(uuid),
  priorityMin: optional(PRIORITY),
  priorityMax: optional(PRIORITY),
  dueBefore: optional(instant),
  dueAfter: optional(instant),
  overdue: optional(flag),
  sort: withDefault(choice(SORTS), 'createdAt'),
  order: optional(choice(['asc', 'desc'])),
});

/** Offsets are read through: a list goes further by its pages. */
export const MOST_SKIPPED = 10_000;

const scalars: Reader<Readonly<Record<string, string | number | boolean | null>>> = (value, key) => {
  const metadata = jsonObject(value, key);
  for (const [name, item] of Object.entries(metadata)) {
    if (typeof item === 'object' && item !== null)
      throw invalid(`${key}.${name}`, item, 'a string, a number, true, false or null');
    if (!/^[^.$"\\`\p{Cc}][^."\\`\p{Cc}]{0,127}$/u.test(name))
      throw invalid(`${key}.${name}`, name, 'a name of up to 128 characters without dot, quotes or backslash');
  }
  return metadata as Record<string, string | number | boolean | null>;
};

export const searchArguments = shape({
  ...CALL_MEMBERS,
  text: optional(text(1_020)),
  status: statuses,
  ownerId: optional(uuid),
  conversationId: optional(uuid),
  metadata: optional(scalars),
  limit: withDefault(integer(1, 100), 20),
  offset: withDefault(integer(0, MOST_SKIPPED), 0),
});

export const assignArguments = shape({
  ...CALL_MEMBERS,
  ...ACTOR_MEMBERS,
  ifVersion,
  role: ROLE,
  metadata: withDefault(jsonObject, {}),
});
export const answerArguments = shape({ ...CHANGE_MEMBERS, role: ROLE });
export const answer = choice(['accepted', 'declined']);
export const listAssignmentsArguments = shape({
  ...PAGE_MEMBERS,
  taskId: optional(uuid),
  assigneeId: optional(uuid),
  status: optional(choice(ASSIGNMENT_STATUSES)),
});

export const newComment = shape({ text: text(65_536) });

const eventType: Reader<string> = (value, key) => {
  const name = text(64)(value, key);
  if (!/^[a-z][a-z0-9_]*$/.test(name)) throw invalid(key, value, 'a name of the form [a-z][a-z0-9_]{0,63}');
  if (OWN_EVENTS.includes(name))
    throw invalid(key, value, `another name than the store's own (${OWN_EVENTS.join(', ')})`);
  return name;
};
export const newEvent = shape({
  eventType,
  payload: withDefault(eventPayload, {}),
  triggeredById: optional(text(255)),
  sessionId: optional(text(255)),
});

/** Terminal tasks whose last change is older are deleted; absent, null and 0: none. */
const DAYS = withDefault(integer(0, 365_000), 0);
export const retention = shape({ taskDays: DAYS });
