/**
 * Finds whose filter one index answers and whose order another has. Without statistics, SQLite takes the order: it walks the
 * table to find a few. So it looks first, in the index of the filter: few are read by it and sorted; where there are many, the
 * order is walked, and a page is soon full.
 */
import type { FindRequest, IndexSchema, Scope } from '../../backend.js';
import type { Direction } from '../../../filter/cursor.js';
import type { FilterNode, LeafNode } from '../../../filter/syntax.js';
import type { Dialect, Parameters, SelectRows } from '../dialect.js';
import { compileFilter } from '../filter.js';
import { tableName } from './expressions.js';

/**
 * How many are few, for each that is wanted, but at least and at most so many in all. All of the few are read and sorted, in
 * milliseconds where they are a few hundred bytes each. Of more, a page is full after a tenth of the table at most, if they are
 * spread evenly.
 */
const FEW_FOR_EACH = 10;
const [FEWEST, MOST] = [100, 1_000];

export function fewOrMany(
  dialect: Dialect,
  scope: Scope,
  request: FindRequest,
  parameters: Parameters,
  select: SelectRows,
): string | undefined {
  if (scope === 'all') return undefined;
  const lead = leadOf(request);
  if (lead.length === 0) return undefined;
  const table = tableName(request.collection.name);
  const led = (column: string): string => {
    const terms = [`t.tenant = ${parameters.text(scope.tenant)}`];
    for (const node of lead) terms.push(compileFilter(dialect, node, parameters));
    return `SELECT ${column} FROM ${table} t WHERE ${terms.join(' AND ')}`;
  };
  const few = (): string => `max(${FEWEST}, min(${MOST}, ${FEW_FOR_EACH} * ${parameters.integer(request.limit)}))`;
  const beyond = (): string => `(${led('1')} LIMIT 1 OFFSET ${few()})`;
  // A limit of 0 keeps the other one from reading anything; a condition would be asked for each row.
  const sorted = select(
    // CROSS: in this order, whatever else has an index.
    () => `(${led('t.rowid AS place')}) f CROSS JOIN ${table} t WHERE t.rowid = f.place AND`,
    (bound) => `CASE WHEN ${beyond()} IS NULL THEN ${bound()} ELSE 0 END`,
  );
  const walked = select(
    () => `${table} t WHERE`,
    (bound) => `CASE WHEN ${beyond()} IS NULL THEN 0 ELSE ${bound()} END`,
  );
  // One of them has no rows: the order of the whole is that of the other, as SQLite gives one after the other.
  return `SELECT * FROM (${sorted}) UNION ALL SELECT * FROM (${walked})`;
}

interface Key {
  readonly field: string;
  readonly direction: Direction;
}

/** What the primary key has the order of, within a tenant. */
const BY_ID: readonly Key[] = [{ field: 'id', direction: 'asc' }];

/**
 * The conditions that an index answers by its first keys, where no such index has the order, and another one has; empty:
 * there is nothing to choose.
 */
function leadOf({ collection, filter, sort }: FindRequest): readonly FilterNode[] {
  const answered = answerable(filter);
  if (answered.size === 0 || answered.has('id')) return [];
  const isPinned = (field: string): boolean => answered.get(field)?.op === 'eq';
  if (collection.unique.some(({ fields }) => fields.every(isPinned))) return [];
  const free = (keys: readonly Key[]): Key[] => keys.filter(({ field }) => !isPinned(field));
  const asked = free(sort.map(({ path, direction }) => ({ field: path.join('.'), direction })));
  let ordered = hasOrder(BY_ID, asked);
  let lead: readonly Key[] = [];
  for (const index of collection.indexes) {
    if (index.scope === 'all') continue;
    const keys = keysOf(index);
    const first = keys.slice(
      0,
      keys.findIndex(({ field }) => !answered.has(field)),
    );
    if (hasOrder(free(keys), asked)) {
      if (first.length > 0) return [];
      ordered = true;
    }
    if (first.length > lead.length) lead = first;
  }
  return ordered ? lead.map(({ field }) => answered.get(field)!) : [];
}

/** What must be equal to a value, or to one of several, by the names that indexes have for fields. */
function answerable(filter: FilterNode): ReadonlyMap<string, LeafNode> {
  const leaves = new Map<string, LeafNode>();
  for (const node of 'nodes' in filter && filter.op === 'and' ? filter.nodes : [filter]) {
    if (node.op !== 'eq' && node.op !== 'in') continue;
    const values = node.op === 'eq' ? [node.value] : node.values;
    if (node.field.type !== undefined && !values.includes(null)) leaves.set(node.field.path.join('.'), node);
  }
  return leaves;
}

function keysOf({ keys }: IndexSchema): readonly Key[] {
  const last = keys.at(-1)!;
  return last.field === 'id' ? keys : [...keys, { field: 'id', direction: last.direction }];
}

/** Forwards or backwards. */
function hasOrder(keys: readonly Key[], asked: readonly Key[]): boolean {
  const backwards = keys[0]?.direction !== asked[0]?.direction;
  return asked.every(
    ({ field, direction }, i) => keys[i]?.field === field && (keys[i].direction !== direction) === backwards,
  );
}
