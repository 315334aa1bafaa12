/**
 * A vector provider of a third party, in one file: collections in a JSON file, searched exactly. Importing this file
 * registers it; its settings are `vectors.file.path`.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import {
  ConflictError,
  evaluateFilter,
  NotFoundError,
  registerVectorProvider,
  vectorScore,
  type CheckResult,
  type CompiledFilter,
  type FetchedVector,
  type FlatMetadata,
  type ProviderEnvironment,
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

interface Row {
  readonly vector: readonly number[];
  readonly metadata: FlatMetadata;
  readonly text?: string;
}
type Rows = Record<string, Row>;
interface Content {
  [collection: string]: { readonly schema: VectorSchema; readonly scopes: Record<string, Rows> };
}

@registerVectorProvider('file', {
  settings: { path: { doc: 'The file that holds everything.', format: 'string', default: './vectors.json' } },
})
export class FileProvider implements VectorProvider {
  readonly name: string;
  readonly capabilities: VectorCapabilities = {
    metrics: ['cosine', 'euclidean', 'dot'],
    exact: true,
    operators: { stringRange: true, notRange: 'always' },
    metadataDigits: 17,
    deleteCount: true,
    listOrder: 'id',
    text: false,
    hybrid: false,
    sparse: false,
    consistency: 'immediate',
    transactions: false,
    durable: true,
    maxDimension: 4_096,
    maxTopK: 10_000,
    maxBatch: 1_000,
    maxMetadataBytes: 40_960,
  };
  private readonly path: string;
  private content: Content = bare({});
  private saving: Promise<void> = Promise.resolve();

  constructor(settings: Readonly<Record<string, unknown>>, environment: ProviderEnvironment) {
    this.name = environment.name;
    this.path = settings['path'] as string;
  }

  async open(): Promise<void> {
    const text = await readFile(this.path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return '{}';
      throw error;
    });
    const content = JSON.parse(text) as Content;
    this.content = bare(content);
    for (const { scopes } of Object.values(content))
      for (const [scope, rows] of Object.entries(scopes)) scopes[scope] = bare(rows);
  }

  async check(): Promise<CheckResult> {
    return { status: 'healthy', details: { collections: Object.keys(this.content).length } };
  }

  async close(): Promise<void> {
    await this.saving.catch(() => undefined);
  }

  async createCollection(schema: VectorSchema): Promise<void> {
    const other = this.content[schema.name]?.schema;
    if (other === undefined) this.content[schema.name] = { schema, scopes: {} };
    else if (JSON.stringify(other) !== JSON.stringify(schema))
      throw new ConflictError('CONFLICT', `The collection ${schema.name} exists with another declaration`);
    await this.save();
  }

  async describeCollection(name: string): Promise<VectorSchema | undefined> {
    return this.content[name]?.schema;
  }

  async listCollections(): Promise<string[]> {
    return Object.keys(this.content).sort();
  }

  async deleteCollection(name: string): Promise<boolean> {
    const found = this.content[name] !== undefined;
    delete this.content[name];
    await this.save();
    return found;
  }

  async upsert(
    schema: VectorSchema,
    scope: VectorScope,
    records: readonly StoredVector[],
  ): Promise<{ token?: string }> {
    const rows = this.rows(schema, scope);
    for (const { id, vector, ...rest } of records) rows[id] = { vector: [...vector], ...rest };
    await this.save();
    return {};
  }

  async fetch(schema: VectorSchema, scope: VectorScope, ids: readonly string[], include: VectorInclude) {
    const rows = this.rows(schema, scope);
    return ids.map((id) => (Object.hasOwn(rows, id) ? shown(id, rows[id]!, include) : undefined));
  }

  async list(schema: VectorSchema, scope: VectorScope, { filter, limit, after = '', include }: VectorList) {
    const left = this.matching(schema, scope, filter).filter(([id]) => bytes(id, after) > 0);
    const items = left.slice(0, limit).map(([id, row]) => shown(id, row, include));
    return left.length > limit ? { items, next: items.at(-1)!.id } : { items };
  }

  async count(schema: VectorSchema, scope: VectorScope, filter: CompiledFilter | undefined): Promise<number> {
    return this.matching(schema, scope, filter).length;
  }

  async delete(schema: VectorSchema, scope: VectorScope, selection: VectorSelection): Promise<{ deleted?: number }> {
    const rows = this.rows(schema, scope);
    const doomed =
      'ids' in selection
        ? selection.ids.filter((id) => Object.hasOwn(rows, id))
        : this.matching(schema, scope, 'filter' in selection ? selection.filter : undefined).map(([id]) => id);
    for (const id of doomed) delete rows[id];
    await this.save();
    return { deleted: doomed.length };
  }

  async search(schema: VectorSchema, scope: VectorScope, request: VectorSearch): Promise<ScoredVector[]> {
    return this.matching(schema, scope, request.filter)
      .map(([id, row]) => ({
        ...shown(id, row, request.include),
        score: vectorScore(schema.metric, request.vector, Float32Array.from(row.vector)),
      }))
      .sort((a, b) => b.score - a.score || bytes(a.id, b.id))
      .slice(0, request.topK);
  }

  private rows({ name }: VectorSchema, { tenant, namespace }: VectorScope): Rows {
    const collection = this.content[name];
    if (collection === undefined) throw new NotFoundError(`The vector collection ${name} is not there`);
    return (collection.scopes[JSON.stringify([tenant, namespace])] ??= bare({}));
  }

  private matching(schema: VectorSchema, scope: VectorScope, filter: CompiledFilter | undefined): [string, Row][] {
    return Object.entries(this.rows(schema, scope))
      .filter(([, { metadata }]) => filter === undefined || evaluateFilter(filter, metadata))
      .sort(([a], [b]) => bytes(a, b));
  }

  /** One save after another, each whole: a reader never sees half a file. */
  private save(): Promise<void> {
    this.saving = this.saving
      .catch(() => undefined)
      .then(async () => {
        await writeFile(`${this.path}.new`, JSON.stringify(this.content));
        await rename(`${this.path}.new`, this.path);
      });
    return this.saving;
  }
}

/** Without a prototype: ids are any text, and `toString` must not be found before it is stored. */
function bare<T extends object>(object: T): T {
  return Object.assign(Object.create(null) as T, object);
}

function shown(id: string, { vector, metadata, text }: Row, include: VectorInclude): FetchedVector {
  return {
    id,
    ...(include.vector ? { vector: Float32Array.from(vector) } : {}),
    ...(include.metadata ? { metadata: { ...metadata } } : {}),
    ...(include.text && text !== undefined ? { text } : {}),
  };
}

function bytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
