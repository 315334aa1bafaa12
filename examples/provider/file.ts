/**
 * A vector provider of one's own: a file of JSON lines for each collection, read when it opens, appended to by every write.
 * Importing this file registers it; `storage.vectors('file')` then finds it. It says in `capabilities` what it cannot do, and
 * the library refuses that before asking it.
 */
import { appendFile, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  ConflictError,
  NotFoundError,
  registerVectorProvider,
  type CheckResult,
  type FetchedVector,
  type FlatMetadata,
  type PushedNode,
  type ScoredVector,
  type StoredVector,
  type VectorCapabilities,
  type VectorInclude,
  type VectorList,
  type VectorProvider,
  type VectorSchema,
  type VectorScope,
  type VectorSearch,
  type VectorSelection,
} from 'quartermaster';
import { cosine, matches } from './match.js';

interface Collection {
  readonly schema: VectorSchema;
  readonly records: Map<string, Map<string, StoredVector>>;
}
type Line = { scope: string; id: string } & (
  { gone: true } | { vector: number[]; metadata: FlatMetadata; text?: string }
);

const keyOf = ({ tenant, namespace }: VectorScope): string => JSON.stringify([tenant, namespace]);

@registerVectorProvider('file', {
  settings: { directory: { doc: 'Where its files are kept.', format: 'string', default: './vectors' } },
})
export class FileProvider implements VectorProvider {
  readonly name: string;
  readonly capabilities: VectorCapabilities = {
    metrics: ['cosine'],
    exact: true,
    operators: { stringRange: false, notRange: 'always' },
    metadataDigits: 17,
    deleteCount: true,
    listOrder: 'insertion',
    text: false,
    sparse: false,
    consistency: 'immediate',
    transactions: false,
    durable: true,
    maxDimension: 4_096,
    maxTopK: 10_000,
    maxBatch: 1_000,
    maxMetadataBytes: 40_960,
  };
  private readonly directory: string;
  private readonly collections = new Map<string, Collection>();

  constructor(settings: Readonly<Record<string, unknown>>, environment: { readonly name: string }) {
    this.name = environment.name;
    this.directory = String(settings['directory']);
  }

  async open(): Promise<void> {
    await mkdir(this.directory, { recursive: true });
    for (const file of (await readdir(this.directory)).filter((name) => name.endsWith('.jsonl'))) {
      const [first, ...lines] = (await readFile(join(this.directory, file), 'utf8')).trimEnd().split('\n');
      const schema = JSON.parse(first!) as VectorSchema;
      const collection: Collection = { schema, records: new Map() };
      for (const line of lines) keep(collection, JSON.parse(line) as Line);
      this.collections.set(schema.name, collection);
    }
  }

  async check(): Promise<CheckResult> {
    return { status: 'healthy', details: { collections: this.collections.size } };
  }

  async close(): Promise<void> {
    this.collections.clear();
  }

  async createCollection(schema: VectorSchema): Promise<void> {
    const known = this.collections.get(schema.name)?.schema;
    if (known === undefined) {
      this.collections.set(schema.name, { schema, records: new Map() });
      await appendFile(this.file(schema.name), `${JSON.stringify(schema)}\n`);
    } else if (JSON.stringify(known) !== JSON.stringify(schema)) {
      throw new ConflictError('CONFLICT', `The collection ${schema.name} is there with another declaration`);
    }
  }

  async describeCollection(name: string): Promise<VectorSchema | undefined> {
    return this.collections.get(name)?.schema;
  }

  async listCollections(): Promise<string[]> {
    return [...this.collections.keys()];
  }

  async deleteCollection(name: string): Promise<boolean> {
    await rm(this.file(name), { force: true });
    return this.collections.delete(name);
  }

  async upsert(schema: VectorSchema, scope: VectorScope, records: readonly StoredVector[]): Promise<object> {
    const lines = records.map((record): Line => ({ ...record, scope: keyOf(scope), vector: [...record.vector] }));
    return this.write(schema, lines);
  }

  async fetch(schema: VectorSchema, scope: VectorScope, ids: readonly string[], include: VectorInclude) {
    const records = this.find(schema).records.get(keyOf(scope));
    return ids.map((id) => reduced(records?.get(id), include));
  }

  async list(schema: VectorSchema, scope: VectorScope, { filter, limit, after, include }: VectorList) {
    const from = Number(after ?? 0);
    const found = this.matching(schema, scope, filter?.pushed);
    const items = found.slice(from, from + limit).map((record) => reduced(record, include)!);
    return from + limit < found.length ? { items, next: String(from + limit) } : { items };
  }

  async count(schema: VectorSchema, scope: VectorScope, filter: { pushed: PushedNode } | undefined): Promise<number> {
    return this.matching(schema, scope, filter?.pushed).length;
  }

  async delete(schema: VectorSchema, scope: VectorScope, selection: VectorSelection): Promise<{ deleted: number }> {
    const matching = this.matching(schema, scope, 'filter' in selection ? selection.filter.pushed : undefined);
    const ids = 'ids' in selection ? new Set(selection.ids) : undefined;
    const gone = matching.filter(({ id }) => ids === undefined || ids.has(id));
    await this.write(
      schema,
      gone.map(({ id }): Line => ({ scope: keyOf(scope), id, gone: true })),
    );
    return { deleted: gone.length };
  }

  async search(schema: VectorSchema, scope: VectorScope, request: VectorSearch): Promise<ScoredVector[]> {
    return this.matching(schema, scope, request.filter?.pushed)
      .map((record) => ({ ...reduced(record, request.include)!, score: cosine(record.vector, request.vector) }))
      .sort((a, b) => b.score - a.score)
      .slice(0, request.topK);
  }

  private async write(schema: VectorSchema, lines: readonly Line[]): Promise<object> {
    const collection = this.find(schema);
    await appendFile(this.file(schema.name), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    for (const line of lines) keep(collection, line);
    return {};
  }

  private matching(schema: VectorSchema, scope: VectorScope, filter: PushedNode | undefined): StoredVector[] {
    const records = [...(this.find(schema).records.get(keyOf(scope))?.values() ?? [])];
    return filter === undefined ? records : records.filter(({ metadata }) => matches(filter, metadata));
  }

  /** Another declaration than the collection has is one of before it was made anew. */
  private find(schema: VectorSchema): Collection {
    const collection = this.collections.get(schema.name);
    if (collection === undefined || JSON.stringify(collection.schema) !== JSON.stringify(schema))
      throw new NotFoundError(`There is no vector collection ${schema.name}`);
    return collection;
  }

  private file(name: string): string {
    return join(this.directory, `${name}.jsonl`);
  }
}

function keep({ records }: Collection, line: Line): void {
  const own = records.get(line.scope) ?? new Map<string, StoredVector>();
  records.set(line.scope, own);
  if ('gone' in line) own.delete(line.id);
  else own.set(line.id, { ...line, vector: Float32Array.from(line.vector) });
}

function reduced<R extends StoredVector | undefined>(record: R, include: VectorInclude): FetchedVector | undefined {
  if (record === undefined) return undefined;
  return {
    id: record.id,
    ...(include.vector ? { vector: record.vector.slice() } : {}),
    ...(include.metadata ? { metadata: structuredClone(record.metadata) } : {}),
    ...(include.text && record.text !== undefined ? { text: record.text } : {}),
  };
}
