/** What is to be delivered next of lanes: their keys' versions and their first messages. */
import type { RecordBackend, Stored } from '../../backends/backend.js';
import { oneOf, orderBy, valueField } from '../../collection/conditions.js';
import type { OperationContext } from '../../component.js';
import { KEYS, MESSAGES } from '../outbox/records.js';
import type { ClaimedLane } from './claim.js';

/** The head of a lane. */
export interface Head {
  /** The version of the key's record; absent where that is another lane's by now. */
  readonly keyVersion: number | undefined;
  /** In their order, at most `batch`. */
  readonly messages: readonly Stored[];
  /** Whether these are all. */
  readonly isWhole: boolean;
}

const IN_LANES = [
  { ...valueField('lane', 'string'), type: 'string', direction: 'asc' } as const,
  ...orderBy('order', 'number'),
];

/** Of one tenant's lanes, in their order: two reads for all of them. */
export async function readHeads(
  backend: RecordBackend,
  lanes: readonly ClaimedLane[],
  batch: number,
  context: OperationContext,
): Promise<Head[]> {
  const { scope } = lanes[0]!;
  // The keys before the messages: a message that commits after this gives its key another version.
  const keys = await backend.read(
    scope,
    lanes.map(({ keyId }) => ({ collection: KEYS, id: keyId })),
    context,
  );
  // One more than is wanted of each: it tells whether there are more.
  const limit = (batch + 1) * lanes.length;
  const filter = oneOf(
    'lane',
    lanes.map(({ id }) => id),
  );
  const found = await backend.find(scope, { collection: MESSAGES, filter, sort: IN_LANES, limit }, context);
  const whole = found.length < limit || lanes.length === 1;
  const last = found.at(-1)?.value['lane'];
  const heads = lanes.map(async (lane, i): Promise<Head> => {
    const own = found.filter(({ value }) => value['lane'] === lane.id);
    // A longer one has taken the room of this: it is read by itself.
    if (!whole && own.length <= batch && (own.length === 0 || last === lane.id))
      return (await readHeads(backend, [lane], batch, context))[0]!;
    const key = keys[i];
    return {
      keyVersion: key?.value['lane'] === lane.id ? key.version : undefined,
      messages: own.slice(0, batch),
      isWhole: own.length <= batch,
    };
  });
  return Promise.all(heads);
}
