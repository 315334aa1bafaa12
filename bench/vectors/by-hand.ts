/** pgvector's binary forms by hand, as somebody would write them who knows that they are the fastest. */
import type { Client } from 'pg';
import { DIMENSION } from './synthetic.js';

/** The table of a collection: its name ends with what stands for the declaration. */
export async function tableOf(client: Pick<Client, 'query'>, collection: string): Promise<string> {
  const text =
    "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables " +
    "WHERE schemaname = 'quartermaster' AND tablename ~ $1";
  const { rows } = await client.query<{ name: string }>(text, [`^qm_v_${collection}_[0-9a-f]{8}$`]);
  return rows[0]!.name;
}

export function vectorBytes(vector: Float32Array): Buffer {
  const bytes = Buffer.allocUnsafe(4 + 4 * vector.length);
  bytes.writeInt16BE(vector.length);
  bytes.writeInt16BE(0, 2);
  for (let i = 0; i < vector.length; i++) bytes.writeFloatBE(vector[i]!, 4 + 4 * i);
  return bytes;
}

export function arrayBytes(vectors: readonly Float32Array[], oid: number): Buffer {
  const head = Buffer.alloc(20);
  for (const [i, value] of [1, 0, oid, vectors.length, 1].entries()) head.writeInt32BE(value, 4 * i);
  const length = Buffer.alloc(4);
  length.writeInt32BE(4 + 4 * DIMENSION);
  return Buffer.concat([head, ...vectors.flatMap((vector) => [length, vectorBytes(vector)])]);
}

function field(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

interface Row {
  readonly id: string;
  readonly vector: Float32Array;
  readonly metadata?: unknown;
}

/** COPY's binary form of rows (tenant, namespace, id, embedding, metadata). */
export function* copyBytes(rows: readonly Row[]): Generator<Buffer> {
  yield Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
  const columns = Buffer.from([0, 5]);
  const scope = Buffer.concat([field(Buffer.from('default')), field(Buffer.from(''))]);
  for (const { id, vector, metadata } of rows)
    yield Buffer.concat([
      columns,
      scope,
      field(Buffer.from(id)),
      field(vectorBytes(vector)),
      field(Buffer.from(`\x01${JSON.stringify(metadata)}`)),
    ]);
  yield Buffer.from([0xff, 0xff]);
}
