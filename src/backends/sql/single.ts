/** One write in one statement of its key: what is bound, and what its result means. */
import type { SqlResult, SqlValue } from '../../pools/pool.js';
import type { JsonObject, RecordSchema, SameRecord, Write, WriteResult } from '../backend.js';
import type { Dialect, KeyStatement, Row } from './dialect.js';
import { readRow, readTime } from './row.js';

/** A patch is no statement of its key alone. */
export type KeyWrite = Exclude<Write, { kind: 'patch' }>;

export interface KeyOperation extends KeyStatement {
  readonly values: readonly SqlValue[];
}

export function keyOperation(
  dialect: Dialect,
  tenant: string,
  write: KeyWrite,
  now: Date,
  statements = dialect.statements(write.collection),
): KeyOperation {
  const { collection, id } = write;
  switch (write.kind) {
    case 'insert':
    case 'put': {
      const { text, options } = statements[write.kind];
      const values: SqlValue[] = [
        tenant,
        id,
        dialect.time(write.createdAt ?? now),
        dialect.time(now),
        dialect.expiry(write.expiresAt),
        JSON.stringify(write.value),
      ];
      pushWords(dialect, values, collection, write.value);
      return { text, options, values };
    }
    case 'replace': {
      const values: SqlValue[] = [
        tenant,
        id,
        dialect.time(now),
        dialect.expiry(write.expiresAt),
        JSON.stringify(write.value),
      ];
      pushWords(dialect, values, collection, write.value);
      if (write.ifVersion !== undefined) values.push(...sameRecord(dialect, write));
      const { text, options } = write.ifVersion === undefined ? statements.replace : statements.replaceVersion;
      return { text, options, values: statements.arrange?.(values) ?? values };
    }
    case 'delete': {
      const { text, options } = write.ifVersion === undefined ? statements.delete : statements.deleteVersion;
      const time = dialect.time(now);
      return {
        text,
        options,
        values: write.ifVersion === undefined ? [tenant, id, time] : [tenant, id, time, ...sameRecord(dialect, write)],
      };
    }
  }
}

/** @returns `undefined` when the write's condition did not hold. */
export function keyResult(
  dialect: Dialect,
  tenant: string,
  write: KeyWrite,
  { rows, affected }: SqlResult,
  now: Date,
): WriteResult | undefined {
  // What an insert writes is known, so it returns nothing: the number of affected rows tells.
  if (write.kind === 'insert')
    return affected === 0 ? undefined : { status: 'written', version: 1, createdAt: new Date(write.createdAt ?? now) };
  const row = rows[0];
  if (row === undefined) return undefined;
  if (write.kind === 'delete') return { status: 'deleted', record: readRow(dialect, row, tenant, write.id) };
  return written(row);
}

export function written(row: Row): WriteResult {
  return { status: 'written', version: Number(row['version']), createdAt: readTime(row['created_at']) };
}

/** The version, and the time of the creation where it is asked for. */
function sameRecord(dialect: Dialect, { ifVersion, ifCreatedAt }: SameRecord): [SqlValue, SqlValue] {
  return [ifVersion!, ifCreatedAt === undefined ? null : dialect.time(ifCreatedAt)];
}

function pushWords(dialect: Dialect, values: SqlValue[], collection: RecordSchema, value: JsonObject): void {
  if (collection.text.length > 0) values.push(dialect.words(collection.text, value));
}
