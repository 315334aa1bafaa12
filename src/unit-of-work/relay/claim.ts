/** Claims: whose the lanes are. */
import type { PatchChanges, RecordBackend, Stored, TenantScope, Write, WriteResult } from '../../backends/backend.js';
import { all, compares, equals, oneOf, orderBy, present } from '../../collection/conditions.js';
import { takeNumbers } from '../../collection/counters.js';
import { LIBRARY } from '../../collection/library.js';
import type { OperationContext } from '../../component.js';
import type { FilterNode } from '../../filter/syntax.js';
import { LANES } from '../outbox/records.js';

const COUNTER = 'fence:outbox';
const ID = { source: 'envelope', path: ['id'], type: 'string' } as const;

/** A lane that is this relay's until its lease ends. */
export interface ClaimedLane {
  readonly id: string;
  readonly scope: TenantScope;
  /** The id of its key's record. */
  readonly keyId: string;
  readonly topic: string;
  readonly token: number;
  /** Deliveries begun of the message at its head, this one included. */
  readonly attempts: number;
  /** Times in a row that it was left alone, as a transaction held its key. */
  readonly rests: number;
  readonly version: number;
  /** When its lease ends, by the monotonic clock of this process. */
  readonly end: number;
}

/**
 * One for all lanes that are claimed with it. Taken after the lanes were found: every claim of a lane that the same key had
 * before is older than this one's lane, and so are their tokens smaller.
 */
export function takeToken(backend: RecordBackend, context: OperationContext): Promise<number> {
  return takeNumbers(backend, LIBRARY, COUNTER, 1, context);
}

/**
 * Of `lanes` at most `most`, and none that another relay was faster with.
 * @param end when a lease that begins no later than this ends, by the monotonic clock
 */
export async function claim(
  backend: RecordBackend,
  lanes: readonly Stored[],
  most: number,
  token: number,
  { lease, end }: { readonly lease: number; readonly end: number },
  context: OperationContext,
): Promise<ClaimedLane[]> {
  const changes = { set: { dueAt: later(context, lease), token }, increment: { attempts: 1 } };
  // A relay that slept between its token and this line must not come after a greater one.
  const free = all(compares('dueAt', 'lte', context.now), compares('token', 'lt', token));
  if (backend.claim !== undefined) {
    const filter = all(asFound(lanes), free);
    const request = { collection: LANES, filter, changes, sort: orderBy('dueAt', 'date'), limit: most };
    return (await backend.claim('all', request, context)).map((lane) => claimedLane(lane, token, end));
  }
  const results = await Promise.all(
    lanes
      .slice(0, most)
      .map(({ id, tenant }) =>
        backend.write({ tenant }, [{ collection: LANES, id, kind: 'patch', changes, if: free }], context),
      ),
  );
  return results.flatMap(([result]) => (result?.status === 'patched' ? [claimedLane(result.record, token, end)] : []));
}

/** As they were found: by what their index begins with, or each claim would read all there are. */
function asFound(lanes: readonly Stored[]): FilterNode {
  const values = (name: string): string[] => [...new Set(lanes.map(({ value }) => value[name] as string))];
  return all(oneOf('topic', values('topic')), oneOf('dueAt', values('dueAt'), 'date'), {
    op: 'in',
    field: ID,
    values: lanes.map(({ id }) => id),
  });
}

function claimedLane({ id, tenant, version, value }: Stored, token: number, end: number): ClaimedLane {
  const { keyId, topic, attempts, rests = 0 } = value;
  return {
    id,
    scope: { tenant },
    keyId: keyId as string,
    topic: topic as string,
    token,
    attempts: attempts as number,
    rests: rests as number,
    version,
    end,
  };
}

/** A change of the lane that only its holder can make. */
export function ownChange(lane: ClaimedLane, changes: PatchChanges): Write {
  return { collection: LANES, id: lane.id, kind: 'patch', changes, if: equals('token', lane.token) };
}

/** A longer lease. A server may do it after its holder has given up waiting, and made a dead letter since: that is left alone. */
export function renewal(lane: ClaimedLane, dueAt: string): Write {
  const isOurs = all(equals('token', lane.token), present('dueAt', 'date'));
  return { collection: LANES, id: lane.id, kind: 'patch', changes: { set: { dueAt } }, if: isOurs };
}

export function later(context: OperationContext, milliseconds: number): string {
  return new Date(context.now.getTime() + milliseconds).toISOString();
}

export function isDone({ status }: WriteResult): boolean {
  return status === 'patched' || status === 'deleted';
}
