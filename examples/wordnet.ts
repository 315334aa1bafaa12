/** Reads `fixtures/wordnet`: two thousand definitions with their embeddings, and twenty queries. */
import { readFile } from 'node:fs/promises';

export const WORDNET_DIMENSION = 384;

export interface Definition {
  readonly id: string;
  readonly words: readonly string[];
  readonly definition: string;
  readonly partOfSpeech: 'noun' | 'verb' | 'adjective' | 'adverb';
  /** `noun.food`, `verb.motion` and 42 more. */
  readonly domain: string;
  readonly links: number;
  /** Whether WordNet gives an example of use. */
  readonly example: boolean;
  /** Characters of the definition. */
  readonly length: number;
}

export interface Query {
  readonly id: string;
  readonly text: string;
  readonly words: readonly string[];
}

/** A text with its embedding, which has the length 1. */
export type Embedded<T> = T & { readonly vector: Float32Array };

export interface Wordnet {
  readonly definitions: Embedded<Definition>[];
  readonly queries: Embedded<Query>[];
}

// Compiled, this file is in `build/examples`.
const FOLDER = new URL('../../fixtures/wordnet/', import.meta.url);

/** Reads all of it into memory, about 4 MB. */
export async function readWordnet(folder: URL = FOLDER): Promise<Wordnet> {
  const [definitions, queries] = await Promise.all([
    readEmbedded<Definition>(folder, 'wordnet-2k'),
    readEmbedded<Query>(folder, 'queries'),
  ]);
  return { definitions, queries };
}

async function readEmbedded<T>(folder: URL, name: string): Promise<Embedded<T>[]> {
  const [text, vectors] = await Promise.all([
    readFile(new URL(`${name}.jsonl`, folder), 'utf8'),
    readVectors(new URL(`${name}.f32`, folder)),
  ]);
  const records = text.trimEnd().split('\n');
  if (vectors.length !== records.length)
    throw new Error(`${name}: ${records.length} records but ${vectors.length} vectors in ${folder.pathname}`);
  return records.map((line, i) => ({ ...(JSON.parse(line) as T), vector: vectors[i]! }));
}

async function readVectors(file: URL): Promise<Float32Array[]> {
  const bytes = await readFile(file);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = WORDNET_DIMENSION * Float32Array.BYTES_PER_ELEMENT;
  if (bytes.byteLength % size !== 0) throw new Error(`${file.pathname} is not a whole number of vectors`);
  return Array.from({ length: bytes.byteLength / size }, (_row, row) =>
    Float32Array.from({ length: WORDNET_DIMENSION }, (_value, i) => view.getFloat32(row * size + i * 4, true)),
  );
}

/** The cosine of two vectors of any length, summed in float64: what approximate searches are measured against. */
export function cosine(a: Float32Array, b: Float32Array): number {
  let dot = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < a.length; i++) {
    const x = a[i]!;
    const y = b[i]!;
    dot += x * y;
    aa += x * x;
    bb += y * y;
  }
  return dot / Math.sqrt(aa * bb);
}

/** The exact nearest definitions of a vector among those that `keep` lets through; ties are in the order of ids. */
export function nearest(
  definitions: readonly Embedded<Definition>[],
  vector: Float32Array,
  count: number,
  keep: (definition: Definition) => boolean = () => true,
): { readonly id: string; readonly score: number }[] {
  return definitions
    .filter(keep)
    .map((definition) => ({ id: definition.id, score: cosine(vector, definition.vector) }))
    .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1))
    .slice(0, count);
}
