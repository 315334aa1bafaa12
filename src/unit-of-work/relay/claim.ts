/** Claims: which lanes are due, and whose they are. */
import type { RecordBackend, Stored, TenantScope, Write, WriteResult } from '../../backends/backend.js';
import { all, compares, equals, oneOf, orderBy } from '../../collection/conditions.js';
import { takeNumbers } from '../../collection/counters.js';
import { LIBRARY } from '../../collection/library.js';
import type { OperationContext } from '../../component.js';
import { LANES } from '../outbox/records.js';

const COUNTER = 'fence:outbox';

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
  readonly version: number;
}

/** The lanes that may be claimed now, those due first before the others. */
export function findDue(
  backend: RecordBackend,
  topics: readonly string[],
  limit: number,
  context: OperationContext,
): Promise<Stored[]> {
  const filter = all(oneOf('topic', topics), compares('dueAt', 'lte', context.now));
  return backend.find('all', { collection: LANES, filter, sort: orderBy('dueAt', 'date'), limit }, context);
}

/**
 * One token a lane. Taken after the lanes were found: every claim of a lane that the same key had before is older than
 * this one's lane, and so are their tokens smaller.
 */
export function takeTokens(backend: RecordBackend, count: number, context: OperationContext): Promise<number> {
  return takeNumbers(backend, LIBRARY, COUNTER, count, context);
}

/** `undefined` when another relay was faster. */
export async function claim(
  backend: RecordBackend,
  lane: Stored,
  token: number,
  lease: number,
  context: OperationContext,
): Promise<ClaimedLane | undefined> {
  const scope = { tenant: lane.tenant };
  const write: Write = {
    collection: LANES,
    id: lane.id,
    kind: 'patch',
    changes: { set: { dueAt: later(context, lease), token }, increment: { attempts: 1 } },
    // A relay that slept between its token and this line must not come after a greater one.
    if: all(compares('dueAt', 'lte', context.now), compares('token', 'lt', token)),
  };
  const [result] = await backend.write(scope, [write], context);
  if (result?.status !== 'patched') return undefined;
  const { version, value } = result.record;
  const { keyId, topic, attempts } = value;
  return {
    id: lane.id,
    scope,
    keyId: keyId as string,
    topic: topic as string,
    token,
    attempts: attempts as number,
    version,
  };
}

/** A change of the lane that only its holder can make. */
export function ownChange(lane: ClaimedLane, changes: (Write & { kind: 'patch' })['changes']): Write {
  return { collection: LANES, id: lane.id, kind: 'patch', changes, if: equals('token', lane.token) };
}

export function later(context: OperationContext, milliseconds: number): string {
  return new Date(context.now.getTime() + milliseconds).toISOString();
}

export function isDone({ status }: WriteResult): boolean {
  return status === 'patched' || status === 'deleted';
}
