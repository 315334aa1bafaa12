/** What the job store's callers give, read before any I/O. */
import {
  characters,
  choice,
  eventPayload,
  flag,
  instant,
  integer,
  json,
  jsonObject,
  list,
  nullable,
  oneOrMany,
  optional,
  partial,
  shape,
  text,
  upTo,
  uuid,
  withDefault,
  type Reader,
} from '../arguments.js';
import { LONGEST_DELAY } from '../../clock.js';
import { invalid } from '../../errors.js';
import {
  ACTOR_MEMBERS,
  CALL_MEMBERS,
  CHANGE_MEMBERS,
  CREATE_MEMBERS,
  idempotencyKey,
  ifVersion,
  PAGE_MEMBERS,
} from '../options.js';
import { OWN_EVENTS } from './events.js';
import {
  ASSIGNMENT_STATUSES,
  JOB_STATUSES,
  MISFIRES,
  OVERLAPS,
  RUN_STATUSES,
  SCHEDULE_TYPES,
  type RetryPolicy,
} from './records.js';

/** How long anything of a job may take: ten years. */
const MOST_SECONDS = 315_576_000;

function seconds(least: number): Reader<number> {
  return (value, key) => {
    if (typeof value !== 'number' || !(value >= least) || value > MOST_SECONDS)
      throw invalid(key, value, `a number of seconds from ${least} to ${MOST_SECONDS}`);
    return value;
  };
}

export const RETRY: RetryPolicy = { maxAttempts: 3, backoffSeconds: 30, jitterSeconds: 5, multiplier: 2 };

const RETRY_MEMBERS = {
  maxAttempts: withDefault(integer(1, 1_000), RETRY.maxAttempts),
  backoffSeconds: withDefault(seconds(0), RETRY.backoffSeconds),
  jitterSeconds: withDefault(seconds(0), RETRY.jitterSeconds),
  multiplier: withDefault((value, key) => {
    if (typeof value !== 'number' || !(value >= 1) || value > 100) throw invalid(key, value, 'a number from 1 to 100');
    return value;
  }, RETRY.multiplier),
};

const METADATA = withDefault(jsonObject, {});
/** What is kept with a run is bounded, each by itself, so that there is room for its result and for what the store notes. */
const RUN_METADATA = upTo(65_536, METADATA);
const PAYLOAD = upTo(524_288, optionalJson);
const STATE = upTo(262_144, json);
const NAME = characters(255);
const DESCRIPTION = text(65_536);
const LIMIT = integer(1, 10_000);
const PRIORITY = withDefault(integer(-1_000_000, 1_000_000), 0);
const TOKEN = integer(1, Number.MAX_SAFE_INTEGER);

export const readId = uuid;
export const readToken = TOKEN;
export const readName = NAME;
export const readJobStatus = choice(JOB_STATUSES);
export const readGivenStatus = optional(readJobStatus);
export const readAssignmentStatus = choice(ASSIGNMENT_STATUSES);

export const readNewJob = shape({
  name: NAME,
  description: optional(DESCRIPTION),
  status: withDefault(choice(JOB_STATUSES), 'draft'),
  ownerId: optional(uuid),
  conversationId: optional(uuid),
  metadata: METADATA,
  timeoutSeconds: optional(seconds(0.001)),
  maxConcurrent: optional(LIMIT),
  retry: optional(shape(RETRY_MEMBERS)),
});

/** Of a retry policy, what is given of it: the rest is as it was. */
export const readJobChanges = partialWithNulls(
  partial({
    name: NAME,
    description: nullable(DESCRIPTION),
    ownerId: nullable(uuid),
    conversationId: nullable(uuid),
    metadata: METADATA,
    timeoutSeconds: nullable(seconds(0.001)),
    maxConcurrent: nullable(LIMIT),
    retry: nullable(partial(RETRY_MEMBERS)),
  }),
);

/** @throws `VALIDATION` for a change of nothing. */
function partialWithNulls<T extends object>(reader: Reader<T>): Reader<T> {
  return (value, key) => {
    const changes = reader(value, key);
    if (Object.keys(changes).length === 0) throw invalid(key, value, 'at least one change');
    return changes;
  };
}

const readScheduleMembers = shape({
  scheduleType: withDefault(choice(SCHEDULE_TYPES), 'cron'),
  expression: text(1_020),
  timezone: withDefault(text(256), 'UTC'),
  nextRunAt: optional(instant),
  startAt: optional(instant),
  endAt: optional(instant),
  anchorAt: optional(instant),
  paused: withDefault(flag, false),
  misfire: withDefault(choice(MISFIRES), 'runOnce'),
  misfireGraceSeconds: withDefault(seconds(0), 60),
  overlap: optional(choice(OVERLAPS)),
  payload: PAYLOAD,
  priority: PRIORITY,
  metadata: METADATA,
});

/** One run of each missed occurrence, and none while there is another one, are not to be had together. */
export const readSchedule = (value: unknown, key: string) => {
  const { overlap, ...schedule } = readScheduleMembers(value, key);
  const runsAll = schedule.misfire === 'runAll';
  if (runsAll && overlap === 'skip')
    throw invalid(`${key}.overlap`, overlap, `queue or allow where ${key}.misfire is runAll`);
  return { ...schedule, overlap: overlap ?? (runsAll ? 'queue' : 'skip') };
};

function optionalJson(value: unknown, key: string): ReturnType<typeof json> | undefined {
  return value === undefined ? undefined : json(value, key);
}

export const readNewRun = shape({
  status: withDefault(choice(RUN_STATUSES), 'scheduled'),
  startedAt: optional(instant),
  finishedAt: optional(instant),
  metadata: RUN_METADATA,
});

export const readRunChanges = partialWithNulls(
  partial({
    status: choice(RUN_STATUSES),
    startedAt: nullable(instant),
    finishedAt: nullable(instant),
    metadata: RUN_METADATA,
  }),
);

export const readEnqueued = shape({
  runAt: optional(instant),
  payload: PAYLOAD,
  priority: PRIORITY,
  metadata: RUN_METADATA,
  idempotencyKey,
});

export const readCheckpoint = shape({
  stepIndex: integer(0, Number.MAX_SAFE_INTEGER),
  stepName: text(1_020),
  state: STATE,
});
export const readCompletion = withDefault(shape({ result: optionalJson }), { result: undefined });
export const readFailure = shape({ error: text(4_096), retryable: withDefault(flag, true) });
const names = list(NAME, 100);

/** @throws `VALIDATION` for none at all too: they would match nothing */
export const readNames: typeof names = (value, key) => {
  const read = names(value, key);
  if (read.length === 0) throw invalid(key, value, 'at least one name');
  return read;
};
/** How long a lease is unless said otherwise. */
export const LEASE_SECONDS = 60;

export const readClaim = shape({
  ...CALL_MEMBERS,
  workerId: text(1_020),
  limit: withDefault(integer(1, 1_000), 1),
  jobs: (value, key) => (value === undefined ? undefined : readNames(value, key)),
  leaseSeconds: withDefault(seconds(0.001), LEASE_SECONDS),
  now: optional(instant),
});
export const readWork = shape({
  workerId: optional(text(1_020)),
  concurrency: withDefault(integer(1, 1_000), 4),
  leaseSeconds: withDefault(seconds(0.3), LEASE_SECONDS),
  poll: withDefault(integer(1, 3_600_000), 1_000),
  onFailure: (value, key) => {
    if (value !== undefined && typeof value !== 'function') throw invalid(key, value, 'a function');
    return value as ((failure: unknown) => void) | undefined;
  },
});
export const readStop = shape({ deadline: withDefault(integer(0, LONGEST_DELAY), 10_000) });

export const readEvent = shape({
  eventType: (value, key) => {
    if (typeof value !== 'string' || !/^[a-z][a-z0-9_]{0,63}$/.test(value))
      throw invalid(key, value, 'a name of the form [a-z][a-z0-9_]{0,63}');
    if (OWN_EVENTS.includes(value))
      throw invalid(key, value, `another name than the store's own (${OWN_EVENTS.join(', ')})`);
    return value;
  },
  payload: withDefault(eventPayload, {}),
});
export const readLink = shape({ relationshipType: withDefault(text(256), 'relates_to'), metadata: METADATA });
export const readUnlink = shape({ linkId: optional(uuid), taskId: optional(uuid) });
export const readAssignment = shape({ role: withDefault(text(256), 'participant'), metadata: METADATA });
export const readRetention = shape({
  jobDays: withDefault(days, 0),
  keepRuns: withDefault(integer(0, 1_000_000), 100),
});

function days(value: unknown, key: string): number {
  if (typeof value !== 'number' || !(value >= 0) || value > 36_525) throw invalid(key, value, 'a number of days, or 0');
  return value;
}

/** What may be said of each operation beside its arguments. */
export const OPTIONS = {
  read: shape(CALL_MEMBERS),
  change: shape(CHANGE_MEMBERS),
  add: shape({ ...CALL_MEMBERS, ...ACTOR_MEMBERS }),
  create: shape(CREATE_MEMBERS),
  ensure: shape({ ...CALL_MEMBERS, ...ACTOR_MEMBERS, schedule: (value: unknown) => value }),
  get: shape({
    ...CALL_MEMBERS,
    withSchedule: withDefault(flag, false),
    withRuns: withDefault(flag, false),
    withEvents: withDefault(flag, false),
  }),
  page: shape(PAGE_MEMBERS),
  list: shape({
    ...PAGE_MEMBERS,
    // An empty list stays one: it matches nothing.
    status: optional(oneOrMany(choice(JOB_STATUSES))),
    ownerId: optional(uuid),
  }),
  heartbeat: shape({ ...CALL_MEMBERS, leaseSeconds: optional(seconds(0.001)) }),
  delete: shape({ ...CALL_MEMBERS, ...ACTOR_MEMBERS, ifVersion, force: withDefault(flag, false) }),
  previews: shape({ ...CALL_MEMBERS, count: withDefault(integer(1, 1_000), 5) }),
  retain: shape({ ...CALL_MEMBERS, dryRun: withDefault(flag, false) }),
} as const;
