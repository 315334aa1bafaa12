/** The statement of a batch: one modifying part for each collection and kind, and the rows of all of them. */
import { compareText } from '../../../filter/evaluate.js';
import { recordWords } from '../../../filter/text.js';
import type { RecordSchema, Write } from '../../backend.js';
import type { Dialect, Statement } from '../dialect.js';
import { RECORD_COLUMNS } from '../row.js';
import { insertColumns, insertOver, putOver } from '../statements.js';
import { expiredPart } from './expired.js';
import { tableName } from './expressions.js';
import { expiryText, PostgresParameters, timeText } from './parameters.js';
import { patchStatement } from './patch.js';
import { WRITTEN_COLUMNS } from './statements.js';

export type Kind = Write['kind'];
export interface Group {
  readonly collection: RecordSchema;
  readonly kind: Kind;
  /** The places of its writes in the batch, by id. */
  readonly places: Map<string, number>;
}

/** Division by zero: what the statement raises when it wrote fewer records than it has items. */
export const REFUSED = '22012';

/**
 * @param freed the collections whose expired records free their keys first.
 * @param complete how many rows there must be, or the statement raises `REFUSED`; absent: it never does.
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
  const parts = groups.map((group, part) => {
    const own = groupWritesOf(group, writes);
    const first = own[0]!;
    const text =
      first.kind === 'patch'
        ? patchStatement(dialect, tenant, first, now, parameters)
        : groupStatement(tenant, group, own, now, parameters);
    return `p${part} AS (${text})`;
  });
  const time = freed.length === 0 ? '' : parameters.add(timeText(now), 'timestamptz');
  const owner = freed.length === 0 ? '' : parameters.add(tenant, 'text');
  const gone = freed.map((collection, i) => expiredPart(`gone${i}`, collection, time, owner));
  const rowsOf = [
    // No rows, and read first.
    ...freed.map((_, i) => `SELECT -1 AS part, ${NO_RECORD} FROM gone${i} HAVING count(*) < 0`),
    ...groups.map(({ kind }, part) => `SELECT ${part} AS part, ${resultColumns(kind)} FROM p${part} AS t`),
  ];
  // The divisor is no constant, or the planner would divide before it knows.
  const guard =
    complete === undefined
      ? ''
      : `, 1 / (CASE WHEN (SELECT count(*) FROM done) = ${complete} THEN 1 ELSE 0 END) AS complete`;
  const text = `WITH ${[...gone, ...parts].join(', ')}, done AS (${rowsOf.join(' UNION ALL ')}) SELECT done.*${guard} FROM done`;
  return { text, parameters };
}

function groupWritesOf(group: Group, writes: readonly Write[]): Write[] {
  const own = [...group.places.values()].map((place) => writes[place]!);
  // Equal order in all batches: two that lock in opposite orders would deadlock.
  return own.sort((a, b) => compareText(a.id, b.id));
}

function resultColumns(kind: Kind): string {
  if (kind === 'patch' || kind === 'delete') return RECORD_COLUMNS;
  return 't.id, t.version, t.created_at, NULL::timestamptz AS updated_at, NULL::timestamptz AS expires_at, NULL::jsonb AS value';
}

const NO_RECORD =
  'NULL::text AS id, NULL::float8 AS version, NULL::timestamptz AS created_at, NULL::timestamptz AS updated_at, ' +
  'NULL::timestamptz AS expires_at, NULL::jsonb AS value';

type ValueWrite = Extract<Write, { value: unknown }>;

function groupStatement(
  tenant: string,
  group: Group,
  writes: readonly Write[],
  now: Date,
  parameters: PostgresParameters,
): string {
  const owner = parameters.add(tenant, 'text');
  const time = parameters.add(timeText(now), 'timestamptz');
  const table = tableName(group.collection.name);
  const ids = parameters.list(
    writes.map((write) => write.id),
    'text',
  );
  // A version no record has stands for "any": drivers differ over NULL in arrays.
  const versions = (): string =>
    parameters.list(
      writes.map((write) => ('ifVersion' in write ? (write.ifVersion ?? -1) : -1)),
      'float8',
    );
  const live = `t.tenant = ${owner} AND t.id = u.id AND t.expires_at > ${time} AND (u.expected < 0 OR t.version = u.expected)`;
  if (group.kind === 'delete')
    return `DELETE FROM ${table} AS t USING unnest(${ids}, ${versions()}) AS u(id, expected) WHERE ${live} RETURNING ${RECORD_COLUMNS}`;

  const values = writes as readonly ValueWrite[];
  const words = group.collection.text.length > 0;
  const lists = [
    ids,
    parameters.list(
      values.map((write) => JSON.stringify(write.value)),
      'text',
    ),
    parameters.list(
      values.map((write) => expiryText(write.expiresAt)),
      'timestamptz',
    ),
  ];
  const columns = ['id', 'value', 'expires'];
  if (words) {
    const texts = values.map((write) => JSON.stringify(recordWords(group.collection.text, write.value)));
    lists.push(parameters.list(texts, 'text'));
    columns.push('words');
  }
  const wordsOf = 'ARRAY(SELECT jsonb_array_elements_text(u.words::jsonb))';
  const written = `RETURNING t.id, ${WRITTEN_COLUMNS}`;
  if (group.kind === 'replace') {
    lists.push(versions());
    columns.push('expected');
    return (
      `UPDATE ${table} AS t SET value = u.value::jsonb, version = t.version + 1, updated_at = ${time}, expires_at = u.expires` +
      `${words ? `, words = ${wordsOf}` : ''} FROM unnest(${lists.join(', ')}) AS u(${columns.join(', ')}) WHERE ${live} ${written}`
    );
  }
  const created = values.map((write) => timeText(write.kind === 'replace' ? now : (write.createdAt ?? now)));
  lists.push(parameters.list(created, 'timestamptz'));
  columns.push('created');
  const over = group.kind === 'insert' ? `${insertOver(words)} WHERE t.expires_at <= ${time}` : putOver(words, time);
  return (
    `INSERT INTO ${table} AS t ${insertColumns(words)} SELECT ${owner}, u.id, 1, u.created, ${time}, u.expires, u.value::jsonb` +
    `${words ? `, ${wordsOf}` : ''} FROM unnest(${lists.join(', ')}) AS u(${columns.join(', ')}) ORDER BY u.id ` +
    `ON CONFLICT (tenant, id) DO UPDATE SET ${over} ${written}`
  );
}
