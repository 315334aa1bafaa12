/** What a claim asks of the records of every tenant, below the collections, which know one. */
import type { ClaimRequest, FindRequest, RecordBackend, Stored } from '../../backends/backend.js';
import type { CollectionDefinition } from '../../collection/definition.js';
import type { Sort } from '../../collection/options.js';
import { RecordCodec, type StoredRecord } from '../../collection/record-codec.js';
import type { OperationContext } from '../../component.js';
import { parseSort } from '../../filter/cursor.js';
import { normalize } from '../../filter/normalize.js';
import type { Path } from '../../filter/paths.js';
import { parseFilter, type Filter } from '../../filter/syntax.js';
import { RUNS, type RunValue } from './records.js';

export interface TenantRecord<T> extends StoredRecord<T> {
  readonly tenant: string;
}

/** The most urgent first, then the longest due. */
export const ORDER: Sort<Path<RunValue>> = { priority: 'desc', dueAt: 'asc' };
const LONGEST_DUE: Sort<Path<RunValue>> = { dueAt: 'asc' };

type Queue = NonNullable<RunValue['queue']>;

/** The queues in which more was due than was taken, as far as is known: there runs are taken by `ORDER` without a look. */
export type Backlog = Set<Queue>;

function note(backlog: Backlog, queue: Queue, hasMore: boolean): void {
  if (hasMore) backlog.add(queue);
  else backlog.delete(queue);
}

/** The first that match, of every tenant. */
export async function findEverywhere<T>(
  backend: RecordBackend,
  definition: CollectionDefinition<T>,
  filter: Filter<T>,
  sort: Sort<Path<T>>,
  limit: number,
  context: OperationContext,
): Promise<TenantRecord<T>[]> {
  const found = await backend.find('all', requestOf(definition, filter, sort, limit), context);
  return decodeAll(backend, definition, found);
}

/**
 * The longest due, of every tenant: from an index that those with a time to come lie behind, where the one of `ORDER` has them
 * between the few that are due.
 */
function findLongestDue(
  backend: RecordBackend,
  queue: Queue,
  jobs: readonly string[] | undefined,
  limit: number,
  context: OperationContext,
): Promise<TenantRecord<RunValue>[]> {
  return findEverywhere(backend, RUNS, dueIn(queue, jobs, context), LONGEST_DUE, limit, context);
}

/** The first by `ORDER` of the runs in a queue that are due, of every tenant, in any order. */
export async function findDue(
  backend: RecordBackend,
  queue: Queue,
  jobs: readonly string[] | undefined,
  limit: number,
  backlog: Backlog,
  context: OperationContext,
): Promise<TenantRecord<RunValue>[]> {
  if (!backlog.has(queue)) {
    const due = await findLongestDue(backend, queue, jobs, limit + 1, context);
    if (due.length <= limit) return due;
  }
  const found = await findEverywhere(backend, RUNS, dueIn(queue, jobs, context), ORDER, limit, context);
  note(backlog, queue, found.length === limit);
  return found;
}

/** By `ORDER`. */
export function inOrder({ value: a }: TenantRecord<RunValue>, { value: b }: TenantRecord<RunValue>): number {
  return b.priority - a.priority || a.dueAt!.getTime() - b.dueAt!.getTime();
}

export interface Taking {
  readonly workerId: string;
  readonly leaseUntil: Date;
  readonly limit: number;
  /** Only of jobs with these names; absent: of all. */
  readonly jobs?: readonly string[] | undefined;
}

/**
 * Takes runs that are due and behind no limit, of every tenant, in one statement: no two claims take the same. The attempt
 * and the token grow with it.
 */
export async function claimOpen(
  backend: RecordBackend,
  { workerId, leaseUntil, limit, jobs }: Taking,
  backlog: Backlog,
  context: OperationContext,
): Promise<TenantRecord<RunValue>[]> {
  const due = backlog.has('open') ? undefined : await findLongestDue(backend, 'open', jobs, limit + 1, context);
  if (due?.length === 0) return [];
  // Where all that are due are taken, their order does not matter: but for those that come due after the look, in the place of
  // what another claim took since.
  const order = due === undefined || due.length > limit ? ORDER : LONGEST_DUE;
  const codec = codecOf(backend, RUNS);
  const request: ClaimRequest = {
    ...requestOf(RUNS, dueIn('open', jobs, context), order, limit),
    changes: codec.encodePatch(heldChanges(workerId, leaseUntil, context.now)),
  };
  const taken = await (backend.claim?.('all', request, context) ?? claimEach(backend, request, context));
  note(backlog, 'open', due === undefined ? taken.length === limit : due.length > limit);
  // Those that are as urgent stay as they were found.
  return decodeAll(backend, RUNS, taken).sort((a, b) => b.value.priority - a.value.priority);
}

function dueIn(queue: Queue, jobs: readonly string[] | undefined, { now }: OperationContext): Filter<RunValue> {
  return { queue, dueAt: { $lte: now }, ...ofJobs(jobs) };
}

export function ofJobs(jobs: readonly string[] | undefined): Filter<RunValue> {
  return jobs === undefined ? {} : { jobName: { $in: jobs } };
}

/** Found, then taken one by one where they match still: for backends without a statement of their own. */
async function claimEach(
  backend: RecordBackend,
  { collection, filter, sort, limit, changes }: ClaimRequest,
  context: OperationContext,
): Promise<Stored[]> {
  const found = await backend.find('all', { collection, filter, sort, limit }, context);
  const taken: Stored[] = [];
  for (const { tenant, id } of found) {
    const write = { collection, id, kind: 'patch', changes, if: filter } as const;
    const [result] = await backend.write({ tenant }, [write], context);
    if (result?.status === 'patched') taken.push(result.record);
  }
  return taken;
}

function heldChanges(workerId: string, leaseUntil: Date, now: Date): object {
  return {
    set: { status: 'running', queue: 'held', dueAt: leaseUntil, workerId, startedAt: now, untold: true },
    increment: { attempt: 1, token: 1 },
  };
}

/** The same of a run that is claimed by a decision. */
export function held(
  run: RunValue,
  { workerId, leaseUntil }: Pick<Taking, 'workerId' | 'leaseUntil'>,
  now: Date,
): RunValue {
  const { attempt, token } = run;
  const taken = {
    status: 'running',
    queue: 'held',
    dueAt: leaseUntil,
    workerId,
    startedAt: now,
    untold: true,
  } as const;
  return { ...run, ...taken, attempt: attempt + 1, token: token + 1 };
}

/** Held under leases that have ended, those that ended first. */
export function findExpired(
  backend: RecordBackend,
  limit: number,
  context: OperationContext,
): Promise<TenantRecord<RunValue>[]> {
  return findLongestDue(backend, 'held', undefined, limit, context);
}

function requestOf<T>(
  definition: CollectionDefinition<T>,
  filter: Filter<T>,
  sort: Sort<Path<T>>,
  limit: number,
): FindRequest {
  const { schema, domain } = definition;
  return { collection: schema, filter: normalize(parseFilter(filter, domain)), sort: parseSort(sort, domain), limit };
}

function codecOf<T>(backend: RecordBackend, definition: CollectionDefinition<T>): RecordCodec<T> {
  return new RecordCodec(definition, backend.capabilities.maxRecordBytes);
}

function decodeAll<T>(
  backend: RecordBackend,
  definition: CollectionDefinition<T>,
  found: readonly Stored[],
): TenantRecord<T>[] {
  const codec = codecOf(backend, definition);
  return found.map((stored) => ({ tenant: stored.tenant, ...codec.decode(stored) }));
}
