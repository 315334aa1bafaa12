/** The statement of a batch: one modifying part for each collection and kind, and the rows of all of them. */
import { compareText } from '../../../filter/evaluate.js';
import { recordWords } from '../../../filter/text.js';
import type { SqlValue } from '../../../pools/pool.js';
import type { RecordSchema, SameRecord, Write } from '../../backend.js';
import type { Dialect, Statement } from '../dialect.js';
import { RECORD_COLUMNS } from '../row.js';
import { insertColumns, insertOver, putOver } from '../statements.js';
import { expiredPart } from './expired.js';
import { tableName } from './expressions.js';
import { expiryText, PostgresParameters, timeText, type SqlType } from './parameters.js';
import { patchStatement } from './patch.js';
import { WRITTEN_COLUMNS } from './statements.js';

export type Kind = Write['kind'];
export interface Group {
  readonly collection: RecordSchema;
  readonly kind: Kind;
  /** Whether its rows tell of each record. What others write is known: that they did is counted. */
  readonly isTold: boolean;
  /** The places of its writes in the batch, by id. */
  readonly places: Map<string, number>;
}

/** Stands for "any", as no record was created at it. */
const ANY_TIME = '-infinity';

/** Division by zero: what the statement raises when it wrote fewer records than it has items. */
export const REFUSED = '22012';

/** The part of the row that tells how many records were written, in its version. */
export const COUNT = -1;

/**
 * @param freed the collections whose expired records free their keys first.
 * @param complete how many records there must be, or the statement raises `REFUSED`; absent: it never does.
 */
export function batchStatement(
  dialect: Dialect,
  tenant: string,
  writes: readonly Write[],
  groups: readonly Group[],
  freed: readonly RecordSchema[],
  complete: number | undefined,
  now: Date,
): Statement {
  const parameters = new PostgresParameters();
  // The server takes no parameter that the text does not name.
  const isShared = freed.length > 0 || groups.some(({ kind }) => kind !== 'patch');
  const owner = isShared ? parameters.add(tenant, 'text') : '';
  const time = isShared ? parameters.add(timeText(now), 'timestamptz') : '';
  const parts = groups.map((group, part) => {
    const own = groupWritesOf(group, writes);
    const first = own[0]!;
    const text =
      first.kind === 'patch'
        ? patchStatement(dialect, tenant, first, now, parameters)
        : groupStatement(group, own, now, { parameters, owner, time });
    return `p${part} AS (${text})`;
  });
  const gone = freed.map((collection, i) => expiredPart(`gone${i}`, collection, time, owner));
  const done = groups.map((_, part) => `SELECT 1 FROM p${part}`).join(' UNION ALL ');
  // The divisor is no constant, or the planner would divide before it knows.
  const written = complete === undefined ? 'n' : `n / (CASE WHEN n = ${complete} THEN 1 ELSE 0 END)`;
  const rowsOf = [
    // No rows, and read first.
    ...freed.map((_, i) => `SELECT ${COUNT} AS part, ${noRecord('NULL::float8')} FROM gone${i} HAVING count(*) < 0`),
    // Then every part in its order.
    `SELECT ${COUNT} AS part, ${noRecord(written)} FROM (SELECT count(*)::float8 AS n FROM (${done}) AS done) AS counted`,
    ...groups.flatMap(({ kind, isTold }, part) =>
      !isTold ? [] : [`SELECT ${part} AS part, ${resultColumns(kind)} FROM p${part} AS t`],
    ),
  ];
  const text = `WITH ${[...gone, ...parts].join(', ')} ${rowsOf.join(' UNION ALL ')}`;
  return { text, parameters };
}

/** Inserts of records whose ids are new. It tells nothing: that one of the ids is there is an error. */
export function newRecordsStatement(tenant: string, writes: readonly Write[], now: Date): Statement {
  const parameters = new PostgresParameters();
  const owner = parameters.add(tenant, 'text');
  const time = parameters.add(timeText(now), 'timestamptz');
  const collections = [...new Set(writes.map(({ collection }) => collection))];
  const inserts = collections.map((collection) => {
    const own = inIdOrder(writes.filter((write) => write.collection === collection));
    return groupStatement({ collection, kind: 'new', isTold: false }, own, now, { parameters, owner, time });
  });
  const last = inserts.pop()!;
  const parts = inserts.map((insert, part) => `p${part} AS (${insert})`);
  return { text: parts.length === 0 ? last : `WITH ${parts.join(', ')} ${last}`, parameters };
}

function groupWritesOf(group: Group, writes: readonly Write[]): Write[] {
  return inIdOrder([...group.places.values()].map((place) => writes[place]!));
}

/** Equal order in all batches: two that lock in opposite orders would deadlock. */
function inIdOrder(writes: readonly Write[]): Write[] {
  return [...writes].sort((a, b) => compareText(a.id, b.id));
}

function resultColumns(kind: Kind): string {
  if (kind === 'patch' || kind === 'delete') return RECORD_COLUMNS;
  return 't.id, t.version, t.created_at, NULL::timestamptz AS updated_at, NULL::timestamptz AS expires_at, NULL::jsonb AS value';
}

function noRecord(version: string): string {
  return (
    `NULL::text AS id, ${version} AS version, NULL::timestamptz AS created_at, NULL::timestamptz AS updated_at, ` +
    'NULL::timestamptz AS expires_at, NULL::jsonb AS value'
  );
}

type ValueWrite = Extract<Write, { value: unknown }>;

/** What the writes of a group differ in: the parameters of one, the columns of the rows `u` for several. */
class Source {
  private readonly lists: string[] = [];
  private readonly names: string[] = [];

  constructor(
    private readonly parameters: PostgresParameters,
    readonly isOne: boolean,
  ) {}

  column(name: string, values: readonly SqlValue[], type: SqlType): string {
    if (this.isOne) return this.parameters.add(values[0]!, type);
    this.lists.push(this.parameters.list(values, type));
    this.names.push(name);
    return `u.${name}`;
  }

  /**
   * @param values as JSON. Several are one array of JSON, which is read once: in an array of texts each of its quotes would be
   * escaped here, and found again by the server.
   */
  json(values: readonly string[]): string {
    if (this.isOne) return `${this.parameters.add(values[0]!, 'text')}::jsonb`;
    return `((SELECT ${this.parameters.add(`[${values.join()}]`, 'text')}::jsonb) -> (u.place - 1)::integer)`;
  }

  words(values: readonly (readonly string[])[]): string {
    if (this.isOne) return this.parameters.list(values[0]!, 'text');
    return `ARRAY(SELECT jsonb_array_elements_text(${this.json(values.map((words) => JSON.stringify(words)))}))`;
  }

  /** @param keyword what the rows are brought in by; one write needs none */
  rows(keyword: string): string {
    if (this.isOne) return '';
    return ` ${keyword} unnest(${this.lists.join(', ')}) WITH ORDINALITY AS u(${this.names.join(', ')}, place)`;
  }
}

function isConditional({ ifVersion, ifCreatedAt }: SameRecord): boolean {
  return ifVersion !== undefined || ifCreatedAt !== undefined;
}

function groupStatement(
  group: Omit<Group, 'kind' | 'places'> & { readonly kind: Kind | 'new' },
  writes: readonly Write[],
  now: Date,
  {
    parameters,
    owner,
    time,
  }: { readonly parameters: PostgresParameters; readonly owner: string; readonly time: string },
): string {
  const table = tableName(group.collection.name);
  const ids = writes.map((write) => write.id);
  const own = `t.tenant = ${owner} AND t.expires_at > ${time}`;
  const returned = group.isTold ? RECORD_COLUMNS : '1';
  // What sets no write apart from the others is no join: the server looks the ids up as they are.
  if (group.kind === 'delete' && ids.length > 1 && !(writes as readonly SameRecord[]).some(isConditional))
    return `DELETE FROM ${table} AS t WHERE ${own} AND t.id = ANY(${parameters.list(ids, 'text')}) RETURNING ${returned}`;
  const source = new Source(parameters, writes.length === 1);
  const id = source.column('id', ids, 'text');
  const isLive = (): string => {
    // A version no record has stands for "any": drivers differ over NULL in arrays.
    const versions = writes.map((write) => ('ifVersion' in write ? (write.ifVersion ?? -1) : -1));
    const expected = source.column('expected', versions, 'float8');
    const live = `${own} AND t.id = ${id} AND (${expected} < 0 OR t.version = ${expected})`;
    const times = writes.map((write) => ('ifCreatedAt' in write ? write.ifCreatedAt : undefined));
    if (times.every((created) => created === undefined)) return live;
    const born = source.column(
      'born',
      times.map((created) => (created === undefined ? ANY_TIME : timeText(created))),
      'timestamptz',
    );
    return `${live} AND (${born} = '${ANY_TIME}' OR t.created_at = ${born})`;
  };
  if (group.kind === 'delete') {
    const live = isLive();
    return `DELETE FROM ${table} AS t${source.rows('USING')} WHERE ${live} RETURNING ${returned}`;
  }
  const values = writes as readonly ValueWrite[];
  const value = source.json(values.map((write) => JSON.stringify(write.value)));
  const expires = source.column(
    'expires',
    values.map((write) => expiryText(write.expiresAt)),
    'timestamptz',
  );
  const { text } = group.collection;
  const words = text.length > 0 ? source.words(values.map((write) => recordWords(text, write.value))) : undefined;
  const written = `RETURNING t.id, ${WRITTEN_COLUMNS}`;
  if (group.kind === 'replace') {
    const live = isLive();
    return (
      `UPDATE ${table} AS t SET value = ${value}, version = t.version + 1, updated_at = ${time}, expires_at = ${expires}` +
      `${words === undefined ? '' : `, words = ${words}`}${source.rows('FROM')} WHERE ${live} ${written}`
    );
  }
  const times = values.map((write) => timeText(write.kind === 'replace' ? now : (write.createdAt ?? now)));
  const created = source.column('created', times, 'timestamptz');
  const hasWords = words !== undefined;
  const fresh = [owner, id, '1', created, time, expires, value, ...(hasWords ? [words] : [])].join(', ');
  const rows = source.isOne ? `VALUES (${fresh})` : `SELECT ${fresh}${source.rows('FROM')} ORDER BY u.id COLLATE "C"`;
  const insert = `INSERT INTO ${table} AS t ${insertColumns(hasWords)} ${rows}`;
  if (group.kind === 'new') return insert;
  const [over, result] =
    group.kind === 'insert'
      ? [`${insertOver(hasWords)} WHERE t.expires_at <= ${time}`, 'RETURNING 1']
      : [putOver(hasWords, time), written];
  return `${insert} ON CONFLICT (tenant, id) DO UPDATE SET ${over} ${result}`;
}
