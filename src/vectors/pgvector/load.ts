/** New rows by COPY's binary form, twice as fast as by a statement. */
import type { OperationContext } from '../../component.js';
import type { PostgresDialectPool } from '../../pools/pool.js';
import { compareText } from '../../filter/evaluate.js';
import type { StoredVector, VectorSchema, VectorScope } from '../provider.js';
import { vectorLength, writeVector } from './binary.js';
import { tableName } from './table.js';

/** The signature, flags and no extension: "Binary Format" in PostgreSQL's documentation of COPY. */
const BEGINNING = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
const END = Buffer.from([0xff, 0xff]);
const COLUMNS = 6;
/** Before the text of a jsonb. */
const JSONB_VERSION = 1;

export function copyRows(
  pool: PostgresDialectPool,
  schema: VectorSchema,
  scope: VectorScope,
  records: readonly StoredVector[],
  context: OperationContext,
): Promise<void> {
  const sorted = [...records].sort((a, b) => compareText(a.id, b.id));
  const target = `${tableName(schema)} (tenant, namespace, id, embedding, metadata, text)`;
  return pool.copyIn(target, binaryRows(scope, sorted), context, 'binary');
}

function* binaryRows({ tenant, namespace }: VectorScope, records: readonly StoredVector[]): Iterable<Uint8Array> {
  yield BEGINNING;
  const scope = Buffer.alloc(2 + 4 + Buffer.byteLength(tenant) + 4 + Buffer.byteLength(namespace));
  scope.writeInt16BE(COLUMNS);
  writeText(scope, writeText(scope, 2, tenant), namespace);
  for (const { id, vector, metadata, text } of records) {
    const json = JSON.stringify(metadata);
    const bytes = {
      id: Buffer.byteLength(id),
      vector: vectorLength(vector),
      json: 1 + Buffer.byteLength(json),
      text: text === undefined ? 0 : Buffer.byteLength(text),
    };
    const row = Buffer.allocUnsafe(scope.length + 16 + bytes.id + bytes.vector + bytes.json + bytes.text);
    scope.copy(row);
    let at = writeText(row, scope.length, id);
    at = writeVector(row, row.writeInt32BE(bytes.vector, at), vector);
    row.writeInt32BE(bytes.json, at);
    row.writeUInt8(JSONB_VERSION, at + 4);
    at += 5 + row.write(json, at + 5);
    if (text === undefined) row.writeInt32BE(-1, at);
    else writeText(row, at, text);
    yield row;
  }
  yield END;
}

/** @returns where it ends. */
function writeText(row: Buffer, at: number, text: string): number {
  const length = row.write(text, at + 4);
  row.writeInt32BE(length, at);
  return at + 4 + length;
}
