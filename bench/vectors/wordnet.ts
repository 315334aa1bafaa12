/** The 20,000 definitions, 200 queries and exact answers of the folder in `BENCH_DATA`, in a collection with its index. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Filter, Metadata, VectorRecord, VectorStore } from 'quartermaster';

export const DIMENSION = 384;
export const NAME = 'wordnet';

interface Answers {
  readonly filter: Filter<Metadata>;
  /** How many records the filter matches. */
  readonly matching: number;
  /** The exact ten nearest ids of each query, in the order of the queries. */
  readonly top10: readonly (readonly string[])[];
}

export interface Data {
  readonly records: readonly (VectorRecord & { readonly vector: Float32Array })[];
  readonly queries: readonly Float32Array[];
  /** By the name of the filter. */
  readonly answers: Readonly<Record<string, Answers>>;
}

export async function readData(): Promise<Data> {
  const folder = process.env['BENCH_DATA'];
  if (folder === undefined) throw new Error('BENCH_DATA is not set');
  const [lines, embeddings, queries, answers] = await Promise.all([
    readFile(join(folder, 'wordnet-20k.jsonl'), 'utf8'),
    readVectors(join(folder, 'wordnet-20k.f32')),
    readVectors(join(folder, 'queries-200.f32')),
    readFile(join(folder, 'answers.json'), 'utf8'),
  ]);
  const records = lines
    .trimEnd()
    .split('\n')
    .map((line, i) => {
      const { id, ...metadata } = JSON.parse(line) as Metadata & { readonly id: string };
      // One in a thousand, scattered.
      return { id, vector: embeddings[i]!, metadata: { ...metadata, rare: i % 1_000 === 7 } };
    });
  return { records, queries, answers: JSON.parse(answers) as Data['answers'] };
}

export async function fill(vectors: VectorStore, { records }: Data): Promise<void> {
  await vectors.createCollection({ name: NAME, dimension: DIMENSION, fields: { links: 'number' } });
  await vectors.load(NAME, records, { deferIndex: true });
}

async function readVectors(file: string): Promise<Float32Array[]> {
  const bytes = await readFile(file);
  const all = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  return Array.from({ length: all.length / DIMENSION }, (_, i) => all.slice(i * DIMENSION, (i + 1) * DIMENSION));
}
