/** The bytes of entries, added up: what `usage` tells, and what a counter begins with. */
import type { AggregateGroup, RecordBackend, Scope } from '../../backends/backend.js';
import { aggregateDerived } from '../../collection/aggregate.js';
import type { OperationContext } from '../../component.js';
import { knownFields } from '../../filter/fields.js';
import { normalize } from '../../filter/normalize.js';
import { parseFilter, type Filter, type FilterNode } from '../../filter/syntax.js';
import { ENTRIES } from './entries.js';
import type { EntryValue } from './entry.js';

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
  const [sizes, digits] = await Promise.all([
    sumSizes(backend, scope, parse(where), context),
    countDigits(backend, scope, where, context),
  ]);
  return { entries: sizes.entries, bytes: sizes.bytes + digits };
}

async function sumSizes(
  backend: RecordBackend,
  scope: Scope,
  filter: FilterNode,
  context: OperationContext,
): Promise<Counted> {
  const request = { collection: ENTRIES.schema, filter, by: [], numbers: [SIZE], limit: 1 };
  let groups: AggregateGroup[];
  if (backend.aggregate !== undefined) groups = await backend.aggregate(scope, request, context);
  else if (scope !== 'all') groups = await aggregateDerived(backend, scope, request, context);
  else {
    const all = { collection: ENTRIES.schema, filter, sort: [], limit: Number.MAX_SAFE_INTEGER };
    const found = await backend.find(scope, all, context);
    const bytes = found.reduce((sum, { value }) => sum + ((value['sizeBytes'] as number | undefined) ?? 0), 0);
    return { entries: found.length, bytes };
  }
  const [group] = groups;
  return { entries: group?.count ?? 0, bytes: group?.numbers[0]?.sum ?? 0 };
}

/** A whole number has as many digits as there are n of which it has at least n: no number is read. */
async function countDigits(
  backend: RecordBackend,
  scope: Scope,
  where: Filter<EntryValue>,
  context: OperationContext,
): Promise<number> {
  let digits = 0;
  for (let n = 1; n <= MOST_DIGITS; n++) {
    const filter = parse({ $and: [where, atLeastDigits(n)] });
    const count = await backend.count(scope, { collection: ENTRIES.schema, filter }, context);
    if (count === 0) break;
    digits += count;
  }
  return digits;
}

/** The sign is one of them. */
function atLeastDigits(n: number): Filter<EntryValue> {
  if (n === 1) return { integer: { $exists: true } };
  return { $or: [{ integer: { $gte: 10 ** (n - 1) } }, { integer: { $lte: -(10 ** (n - 2)) } }] };
}

function parse(where: Filter<EntryValue>): FilterNode {
  return normalize(parseFilter(where, ENTRIES.domain));
}
