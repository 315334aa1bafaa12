/** Deletes entries that have expired, and gives back what they took: both in one atomic step. */
import type { RecordBackend, Scope } from '../../backends/backend.js';
import type { OperationContext, Session } from '../../component.js';
import type { CollectionDefinition } from '../../collection/definition.js';
import { RecordCodec } from '../../collection/record-codec.js';
import { parseSort } from '../../filter/cursor.js';
import { normalize } from '../../filter/normalize.js';
import { parseFilter, type Filter } from '../../filter/syntax.js';
import { groupBy } from '../../collection/group-by.js';
import type { Unit } from '../unit.js';
import { bareUnit } from './bare-unit.js';
import { countedSize, stillCounts, type EntryRecord, type EntryValue } from './entry.js';
import { GLOBAL, namespaceCounter, TENANT_COUNTER, USAGE } from './usage.js';

/** Entries of one step: each is a patch of its own, and PostgreSQL takes 40 of those in a statement. */
const STEP = 32;

type Entries = CollectionDefinition<EntryValue>;
type Found = EntryRecord & { readonly tenant: string };

export interface ExpiredEntries {
  /** `limit` or fewer, also such as another writer deleted meanwhile. */
  readonly found: number;
  readonly deleted: number;
}

/**
 * Deletes up to `limit` entries that expired at `before` or earlier and have no expiry as records. What another writer was
 * faster with is left to it.
 */
export async function deleteExpired(
  entries: Entries,
  backend: RecordBackend,
  scope: Scope,
  where: { readonly namespace?: string },
  before: Date,
  limit: number,
  context: OperationContext,
): Promise<ExpiredEntries> {
  const { schema, domain } = entries;
  const request = {
    collection: schema,
    filter: normalize(parseFilter({ ...where, expires: { $lte: before } }, domain)),
    sort: parseSort({ expires: 'asc' }, domain),
    limit,
  };
  const codec = new RecordCodec(entries, backend.capabilities.maxRecordBytes);
  const found = (await backend.find(scope, request, context)).map((stored) => ({
    ...codec.decode(stored),
    tenant: stored.tenant,
  }));
  let deleted = 0;
  for (const [tenant, records] of groupBy(found, (record) => record.tenant))
    for (let i = 0; i < records.length; i += STEP)
      deleted += await deleteStep(entries, backend, tenant, records.slice(i, i + STEP), context);
  return { found: found.length, deleted };
}

async function deleteStep(
  entries: Entries,
  backend: RecordBackend,
  tenant: string,
  records: readonly Found[],
  context: OperationContext,
): Promise<number> {
  const [globalCounter] = await backend.read(GLOBAL.scope, [{ collection: USAGE.schema, id: GLOBAL.id }], context);
  if (globalCounter === undefined)
    return (await giveBack(entries, backend, tenant, records, context)) ? records.length : 0;
  // The counter of all tenants is another tenant's record, which no batch takes along.
  const inSession = async (session: Session): Promise<number> => {
    const own = { ...context, session };
    if (!(await giveBack(entries, backend, tenant, records, own))) return 0;
    const all = bareUnit(backend, GLOBAL.scope.tenant, own);
    all.patch(USAGE, GLOBAL.id, { increment: { bytes: -sum(records) } });
    const failure = await all.commit('kv.sweep');
    if (failure !== undefined) throw failure;
    return records.length;
  };
  const { session } = context;
  return session === undefined ? backend.pool.transaction({ context }, inSession) : inSession(session);
}

/** @returns whether they are deleted: all of them or none. */
async function giveBack(
  entries: Entries,
  backend: RecordBackend,
  tenant: string,
  records: readonly Found[],
  context: OperationContext,
): Promise<boolean> {
  const unit = bareUnit(backend, tenant, context);
  const byNamespace = groupBy(records, ({ value }) => value.namespace);
  const growth = new Map([...byNamespace].map(([namespace, own]) => [namespaceCounter(namespace), -sum(own)]));
  growth.set(TENANT_COUNTER, -sum(records));
  const counters = await unit.findMany(USAGE, [...growth.keys()]);
  for (const record of records)
    removeEntry(entries, unit, record, { ...stillCounts(record), expires: record.value.expires! });
  for (const counter of counters)
    if (counter !== undefined) unit.patch(USAGE, counter.id, { increment: { bytes: growth.get(counter.id)! } });
  return (await unit.commit('kv.sweep')) === undefined;
}

/**
 * Deletes what was read, if `condition` still holds: as an expiry of its record at once, since a deletion takes no condition but
 * a version, and versions begin anew when an entry is deleted and set again.
 */
export function removeEntry(
  entries: Entries,
  unit: Unit,
  record: EntryRecord,
  condition: Filter<EntryValue>,
  ifVersion?: number,
): void {
  const changes = { set: { sizeBytes: 0, expires: new Date(0) }, unset: ['value' as const, 'integer' as const] };
  unit.patch(entries, record.id, changes, {
    if: condition,
    expiresAt: unit.now,
    ...(ifVersion === undefined ? {} : { ifVersion }),
  });
}

function sum(records: readonly EntryRecord[]): number {
  return records.reduce((bytes, record) => bytes + countedSize(record), 0);
}
