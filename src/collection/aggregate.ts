/** Counts and sums over the records that match: what a host asks, the rows it gets, and the derived form. */
import type {
  AggregateGroup,
  AggregateRequest,
  NumberSummary,
  RecordBackend,
  Stored,
  TenantScope,
} from '../backends/backend.js';
import type { OperationContext } from '../component.js';
import { invalid, unknownKey, UnsupportedError, ValidationError } from '../errors.js';
import { compareScalars, recordField } from '../filter/evaluate.js';
import { knownFields, type FieldReference, type FilterDomain } from '../filter/fields.js';
import { isList } from '../filter/json.js';
import type { PathValue } from '../filter/paths.js';
import type { Scalar } from '../filter/syntax.js';
import { eachRecord } from './scan.js';

/** No more groups than this are given. */
const MAX_GROUPS = 10_000;
const MAX_FIELDS = 3;

export interface AggregateSpec<B extends string = string, N extends string = string> {
  /** Up to three declared fields whose values make the groups; without them all records are one group. */
  readonly by?: readonly B[] | undefined;
  /** Declared number fields to be summed up. */
  readonly numbers?: readonly N[] | undefined;
}

type Grouped<V> = unknown extends V ? Scalar | Date : NonNullable<V> | null;

/** One row for the groups of `B` with the sums of `N`, over records of type `T`. */
export interface AggregateRow<T = unknown, B extends string = string, N extends string = string> {
  /** The values of `by` by path; null for missing. Dates are Dates. */
  readonly key: { readonly [P in B]: Grouped<PathValue<T, P>> };
  readonly count: number;
  /** By path: over the records that have the number. `min`, `max` and `average` are absent when there is none. */
  readonly numbers: { readonly [P in N]: NumberSummary & { readonly average?: number } };
}

export interface AggregatePlan extends Pick<AggregateRequest, 'by' | 'numbers'> {
  readonly paths: { readonly by: readonly string[]; readonly numbers: readonly string[] };
}

/** @throws `VALIDATION` for a malformed question, `UNSUPPORTED` for an undeclared field. */
export function planAggregate(spec: AggregateSpec, domain: FilterDomain): AggregatePlan {
  if (typeof spec !== 'object' || spec === null) throw invalid('aggregate', spec, 'an object of by and numbers');
  for (const key of Object.keys(spec))
    if (key !== 'by' && key !== 'numbers') throw unknownKey(`aggregate.${key}`, ['by', 'numbers']);
  const by = declared(spec.by ?? [], 'by', domain);
  if (by.length > MAX_FIELDS) throw invalid('aggregate.by', spec.by, `at most ${MAX_FIELDS} fields`);
  const numbers = declared(spec.numbers ?? [], 'numbers', domain);
  for (const { path, type } of numbers)
    if (type !== 'number')
      throw invalid('aggregate.numbers', path.join('.'), `fields declared as numbers (${path.join('.')} is a ${type})`);
  return { by, numbers, paths: { by: [...(spec.by ?? [])], numbers: [...(spec.numbers ?? [])] } };
}

function declared(paths: unknown, key: string, domain: FilterDomain): FieldReference[] {
  if (!isList(paths)) throw invalid(`aggregate.${key}`, paths, 'an array of declared fields');
  return Array.from(paths, (path: unknown) => {
    const field = typeof path === 'string' ? knownFields(domain).get(path) : undefined;
    if (field?.source === 'value') return field;
    throw new UnsupportedError(
      `aggregate.${key}: ${JSON.stringify(path)} is not declared in the collection's \`fields\``,
      {
        details: { key: `aggregate.${key}` },
      },
    );
  });
}

export async function aggregateRows(
  backend: RecordBackend,
  scope: TenantScope,
  request: Pick<AggregateRequest, 'collection' | 'filter'>,
  plan: AggregatePlan,
  context: OperationContext,
): Promise<AggregateRow[]> {
  const { by, numbers } = plan;
  const full: AggregateRequest = { ...request, by, numbers, limit: MAX_GROUPS + 1 };
  const groups = await (backend.aggregate?.(scope, full, context) ?? aggregateDerived(backend, scope, full, context));
  if (groups.length > MAX_GROUPS)
    throw new ValidationError('VALIDATION', `aggregate: there are more than ${MAX_GROUPS} groups`, {
      operation: 'aggregate',
    });
  return groups.sort(compareGroups).map((group) => rowOf(group, plan));
}

/** Reads every record that matches, a page at a time. */
export async function aggregateDerived(
  backend: RecordBackend,
  scope: TenantScope,
  { collection, filter, by, numbers, limit }: AggregateRequest,
  context: OperationContext,
): Promise<AggregateGroup[]> {
  const groups = new Map<string, Group>();
  for await (const record of eachRecord(backend, scope, { collection, filter }, context)) {
    const key = by.map((field) => (recordField(record, field) ?? null) as Scalar);
    const name = JSON.stringify(key);
    let group = groups.get(name);
    if (group === undefined) {
      if (groups.size === limit) break;
      groups.set(name, (group = { key, count: 0, numbers: numbers.map(() => ({ count: 0, sum: 0 })) }));
    }
    group.count++;
    numbers.forEach((field, i) => add(group.numbers[i]!, record, field));
  }
  return [...groups.values()];
}

interface Group {
  readonly key: Scalar[];
  count: number;
  readonly numbers: { count: number; sum: number; min?: number; max?: number }[];
}

function add(summary: Group['numbers'][number], record: Stored, field: FieldReference): void {
  const value = recordField(record, field);
  if (typeof value !== 'number') return;
  summary.count++;
  summary.sum += value;
  summary.min = Math.min(summary.min ?? value, value);
  summary.max = Math.max(summary.max ?? value, value);
}

function compareGroups(a: AggregateGroup, b: AggregateGroup): number {
  for (let i = 0; i < a.key.length; i++) {
    const order = compareScalars(a.key[i], b.key[i]);
    if (order !== 0) return order;
  }
  return 0;
}

function rowOf({ key, count, numbers }: AggregateGroup, { by, paths }: AggregatePlan): AggregateRow {
  return {
    key: Object.fromEntries(
      paths.by.map((path, i) => {
        const value = key[i] ?? null;
        return [path, by[i]!.type === 'date' && typeof value === 'string' ? new Date(value) : value];
      }),
    ),
    count,
    numbers: Object.fromEntries(
      paths.numbers.map((path, i) => {
        const summary = numbers[i]!;
        return [path, summary.count === 0 ? summary : { ...summary, average: summary.sum / summary.count }];
      }),
    ),
  };
}
