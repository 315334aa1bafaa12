/** The bytes of entries, added up: what `usage` tells, and what a counter begins with. */
import type { FindRequest, RecordBackend, Scope } from '../../backends/backend.js';
import { eachRecord } from '../../collection/scan.js';
import type { OperationContext } from '../../component.js';
import { knownFields } from '../../filter/fields.js';
import { normalize } from '../../filter/normalize.js';
import { parseFilter, type Filter, type FilterNode } from '../../filter/syntax.js';
import { ENTRIES } from './entries.js';
import { sizeOf, type EntryValue } from './entry.js';

export interface Counted {
  readonly bytes: number;
  readonly entries: number;
}

const SIZE = knownFields(ENTRIES.domain).get('sizeBytes')!;
/** The most digits of a whole number, its sign included. */
const MOST_DIGITS = 17;

export async function countUsage(
  backend: RecordBackend,
  scope: Scope,
  where: Filter<EntryValue>,
  context: OperationContext,
): Promise<Counted> {
  const request = { collection: ENTRIES.schema, filter: parse(where) };
  if (backend.aggregate === undefined) return addUp(backend, scope, request, context);
  const [group] = await backend.aggregate(scope, { ...request, by: [], numbers: [SIZE], limit: 1 }, context);
  const sizes = group?.numbers[0];
  if (group === undefined || sizes === undefined) return { entries: 0, bytes: 0 };
  const digits = await countDigits(backend, scope, where, group.count - sizes.count, context);
  return { entries: group.count, bytes: sizes.sum + digits };
}

/** Reads the entries, once. */
async function addUp(
  backend: RecordBackend,
  scope: Scope,
  request: Pick<FindRequest, 'collection' | 'filter'>,
  context: OperationContext,
): Promise<Counted> {
  const found =
    scope === 'all'
      ? await backend.find(scope, { ...request, sort: [], limit: Number.MAX_SAFE_INTEGER }, context)
      : eachRecord(backend, scope, request, context);
  let entries = 0;
  let bytes = 0;
  for await (const { value } of found) {
    entries++;
    bytes += sizeOf(value as unknown as EntryValue);
  }
  return { entries, bytes };
}

/**
 * A whole number has as many digits as there are n of which it has at least n: no number is read.
 * @param integers how many there are: the entries without a size
 */
async function countDigits(
  backend: RecordBackend,
  scope: Scope,
  where: Filter<EntryValue>,
  integers: number,
  context: OperationContext,
): Promise<number> {
  let digits = integers;
  for (let n = 2, count = integers; n <= MOST_DIGITS && count > 0; n++) {
    const filter = parse({ $and: [where, atLeastDigits(n)] });
    count = await backend.count(scope, { collection: ENTRIES.schema, filter }, context);
    digits += count;
  }
  return digits;
}

/** Two or more; the sign is one of them. */
function atLeastDigits(n: number): Filter<EntryValue> {
  return { $or: [{ integer: { $gte: 10 ** (n - 1) } }, { integer: { $lte: -(10 ** (n - 2)) } }] };
}

function parse(where: Filter<EntryValue>): FilterNode {
  return normalize(parseFilter(where, ENTRIES.domain));
}
