/** The records of an index. */
import type { Reply } from './control-plane.js';
import { checkMetadata, compile, Refusal, type Metadata } from './filter.js';
import type { StandInOptions } from './stand-in.js';
import { Namespace, type IndexState, type Row, type Rows, type Sparse } from './state.js';

interface GivenSparse {
  readonly indices: number[];
  readonly values: number[];
}

interface GivenVector {
  readonly id: string;
  readonly values?: number[];
  readonly sparseValues?: GivenSparse;
  readonly metadata?: Metadata;
}

interface Body {
  readonly namespace?: string;
  readonly vectors?: GivenVector[];
  readonly vector?: number[];
  readonly sparseVector?: GivenSparse;
  readonly id?: string;
  readonly ids?: string[];
  readonly filter?: Record<string, unknown>;
  readonly deleteAll?: boolean;
  readonly topK?: number;
  readonly includeValues?: boolean;
  readonly includeMetadata?: boolean;
  readonly limit?: number;
  readonly paginationToken?: string;
  readonly setMetadata?: Metadata;
  readonly dryRun?: boolean;
}

const RESULT_BYTES = 4 * 1_048_576;
const NAMESPACE_CHARACTERS = 512;
/** Of a sparse index. */
const SPARSE_TOP_K = 1_000;
const usage = { readUnits: 1 };

export class DataPlane {
  constructor(
    private readonly options: StandInOptions,
    private readonly index: IndexState,
  ) {
    if (!options.dropsErased) return;
    for (const [name, { isErased }] of index.namespaces) if (isErased) index.namespaces.delete(name);
  }

  handle(operation: string, path: Readonly<Record<string, string>>, query: URLSearchParams, body: Body): Reply {
    switch (operation) {
      case 'upsertVectors':
        return this.upsert(body);
      case 'queryVectors':
        return this.query(body);
      case 'fetchVectors':
        return this.fetch(query.getAll('ids'), query.get('namespace') ?? '');
      case 'fetch_vectors_by_metadata':
        return this.fetchByMetadata(body);
      case 'listVectors':
        return this.list(query);
      case 'deleteVectors':
        return this.delete(body);
      case 'updateVector':
        return this.update(body);
      case 'describeIndexStats':
        return this.stats(body);
      case 'listNamespacesOperation':
        return this.listNamespaces(query);
      case 'describeNamespace':
        return { status: 200, body: describeNamespace(path['namespace']!, this.existing(path['namespace']!)) };
      default:
        throw new Error(`The stand-in has no ${operation}`);
    }
  }

  private upsert({ vectors = [], namespace }: Body): Reply {
    const rows = vectors.map((vector) => this.row(vector));
    const into = this.namespace(namespace, true);
    const reply = this.written(into, (found) => rows.forEach((row) => found.set(row.id, row)));
    return { ...reply, body: { upsertedCount: rows.length } };
  }

  private row({ id, values, sparseValues, metadata = {} }: GivenVector): Row {
    // Nothing says that an id may be other text.
    if (!/^[\x20-\x7e]+$/.test(id)) throw new Refusal(400, `Vector ID must be ASCII, but got '${id}'`);
    checkMetadata(metadata);
    return { id, ...this.vectors(values, sparseValues), metadata };
  }

  private vectors(
    values: readonly number[] | undefined,
    sparse: GivenSparse | undefined,
  ): Pick<Row, 'values' | 'sparse'> {
    const { dimension, metric } = this.index;
    if (dimension === undefined) {
      if (values !== undefined) throw new Refusal(400, 'Sparse indexes take no dense vectors');
      if (sparse === undefined) throw new Refusal(400, 'Sparse indexes take sparse vectors');
      return { values: new Float32Array(0), sparse: sparseOf(sparse) };
    }
    if (values === undefined) throw new Refusal(400, 'Dense indexes take dense vectors');
    if (sparse !== undefined && metric !== 'dotproduct')
      throw new Refusal(400, 'Index configuration does not support sparse values');
    return { values: this.vector(values, dimension), sparse: sparse && sparseOf(sparse) };
  }

  private vector(values: readonly number[], dimension: number): Float32Array {
    if (values.length !== dimension)
      throw new Refusal(
        400,
        `Vector dimension ${values.length} does not match the dimension of the index ${dimension}`,
      );
    if (values.every((value) => Math.fround(value) === 0))
      throw new Refusal(400, 'Dense vectors must contain at least one non-zero value.');
    return Float32Array.from(values);
  }

  private query({ namespace, topK = 0, vector, sparseVector, id, filter, ...include }: Body): Reply {
    const { includeValues, includeMetadata } = include;
    const isSparse = this.index.dimension === undefined;
    if (((vector ?? sparseVector) === undefined) === (id === undefined))
      throw new Refusal(400, 'Either a vector or an id is needed');
    if (isSparse && topK > SPARSE_TOP_K) throw new Refusal(400, `A sparse index has a topK of at most ${SPARSE_TOP_K}`);
    const { rows, headers } = this.read(namespace);
    const matching = this.matching(rows, filter);
    const target = id === undefined ? this.vectors(vector, sparseVector) : rows.get(id);
    const scored = target === undefined ? [] : matching.map((row) => ({ row, score: this.score(row, target) }));
    // The square of a distance is better the smaller it is.
    const direction = this.index.metric === 'euclidean' ? 1 : -1;
    const matches = scored
      .filter(({ score }) => !isSparse || score !== 0)
      .sort((a, b) => direction * (a.score - b.score))
      .slice(0, topK)
      .map(({ row, score }) => ({
        ...shown(row, includeValues === true, includeMetadata === true),
        score,
      }));
    const result = { matches, namespace: namespace ?? '', usage };
    if (Buffer.byteLength(JSON.stringify(result)) > RESULT_BYTES)
      throw new Refusal(400, 'The result of the query exceeds the limit of 4MB');
    return { status: 200, body: result, headers };
  }

  private score({ values: a, sparse }: Row, { values: b, sparse: wanted }: Pick<Row, 'values' | 'sparse'>): number {
    let [dot, normA, normB, squares] = [0, 0, 0, 0];
    for (let i = 0; i < a.length; i++) {
      dot += a[i]! * b[i]!;
      normA += a[i]! ** 2;
      normB += b[i]! ** 2;
      squares += (a[i]! - b[i]!) ** 2;
    }
    for (const [index, value] of sparse ?? []) dot += value * (wanted?.get(index) ?? 0);
    const { metric } = this.index;
    const cosine = dot / Math.sqrt(normA * normB);
    return Math.fround(metric === 'cosine' ? cosine : metric === 'euclidean' ? squares : dot);
  }

  private fetch(ids: readonly string[], namespace: string): Reply {
    if (ids.length > 1_000) throw new Refusal(400, 'At most 1000 ids can be fetched');
    const spaced = ids.find((id) => /\s/.test(id));
    if (spaced !== undefined) throw new Refusal(400, `An id with spaces cannot be fetched: '${spaced}'`);
    const { rows, headers } = this.read(namespace);
    const found = ids.map((id) => rows.get(id)).filter((row) => row !== undefined);
    return { status: 200, body: { vectors: byId(found), namespace, usage }, headers };
  }

  private fetchByMetadata({ namespace, filter, limit = 100, paginationToken }: Body): Reply {
    const { rows, headers } = this.read(namespace);
    const { page, pagination } = paged(this.matching(rows, filter), limit, paginationToken, ({ id }) => id);
    return { status: 200, body: { vectors: byId(page), namespace: namespace ?? '', usage, ...pagination }, headers };
  }

  private list(query: URLSearchParams): Reply {
    const namespace = query.get('namespace') ?? '';
    const prefix = query.get('prefix') ?? '';
    const limit = Number(query.get('limit') ?? 100);
    if (/\s/.test(prefix)) throw new Refusal(400, 'A prefix has no spaces');
    if (limit < 1 || limit > 100) throw new Refusal(400, 'The limit is 1 to 100');
    const { rows, headers } = this.read(namespace);
    const found = [...rows.keys()].filter((id) => id.startsWith(prefix)).map((id) => ({ id }));
    const { page, pagination } = paged(found, limit, query.get('paginationToken') ?? undefined, ({ id }) => id);
    return { status: 200, body: { vectors: page, namespace, usage, ...pagination }, headers };
  }

  private delete({ namespace, ids, filter, deleteAll = false }: Body): Reply {
    if (Number(ids !== undefined) + Number(filter !== undefined) + Number(deleteAll) !== 1)
      throw new Refusal(400, 'Exactly one of ids, filter and deleteAll is needed');
    if (filter !== undefined && !this.options.deletesByFilter)
      throw new Refusal(400, 'Serverless and Starter indexes do not support deleting with metadata filtering');
    const from = this.existing(namespace ?? '');
    const matches = filter === undefined ? () => deleteAll : compile(filter, this.options);
    const named = new Set(ids);
    const reply = this.written(
      from,
      (rows) => {
        for (const row of [...rows.values()]) if (named.has(row.id) || matches(row.metadata)) rows.delete(row.id);
      },
      deleteAll,
    );
    return { ...reply, body: {} };
  }

  private update({ namespace, id, filter, setMetadata, dryRun }: Body): Reply {
    if ((id === undefined) === (filter === undefined)) throw new Refusal(400, 'Either an id or a filter is needed');
    const into = this.namespace(namespace, false);
    const matches = filter === undefined ? () => false : compile(filter, this.options);
    const matchedRecords = [...into.visible.values()].filter(({ metadata }) => matches(metadata)).length;
    // With an id the service writes all the same.
    if (dryRun === true && id === undefined) return { status: 200, body: { matchedRecords } };
    if (setMetadata !== undefined) checkMetadata(setMetadata);
    const reply = this.written(into, (rows) => {
      for (const row of rows.values())
        if (row.id === id || matches(row.metadata))
          rows.set(row.id, { ...row, metadata: { ...row.metadata, ...setMetadata } });
    });
    return { ...reply, body: filter === undefined ? {} : { matchedRecords } };
  }

  private stats({ filter }: Body): Reply {
    if (filter !== undefined) throw new Refusal(400, 'Serverless indexes do not support filtering their statistics');
    const { dimension, metric } = this.index;
    const counts = [...this.index.namespaces].map(([name, { size }]) => [name, { vectorCount: size }] as const);
    const totalVectorCount = counts.reduce((sum, [, { vectorCount }]) => sum + vectorCount, 0);
    const kind = dimension === undefined ? { vectorType: 'sparse' } : { vectorType: 'dense', dimension };
    const body = { namespaces: Object.fromEntries(counts), metric, totalVectorCount, ...kind, indexFullness: 0 };
    return { status: 200, body };
  }

  private listNamespaces(query: URLSearchParams): Reply {
    const prefix = query.get('prefix') ?? '';
    const found = [...this.index.namespaces].filter(([name]) => name.startsWith(prefix));
    const token = query.get('paginationToken') ?? undefined;
    const { page, pagination } = paged(found, Number(query.get('limit') ?? 100), token, ([name]) => name);
    const namespaces = page.map(([name, namespace]) => describeNamespace(name, namespace));
    return { status: 200, body: { namespaces, total_count: found.length, ...pagination } };
  }

  private matching(rows: Rows, filter: Record<string, unknown> | undefined): Row[] {
    const matches = filter === undefined ? () => true : compile(filter, this.options);
    return [...rows.values()].filter(({ metadata }) => matches(metadata));
  }

  private read(name: string | undefined): { rows: Rows; headers: Record<string, string> } {
    const { rows, indexed } = this.namespace(name, false).read(this.options.lag);
    return { rows, headers: this.options.marks ? { 'x-pinecone-max-indexed-lsn': String(indexed) } : {} };
  }

  private written(into: Namespace, apply: (rows: Rows) => void, isErasure = false): Reply {
    const number = into.write(apply, this.options.lag, isErasure);
    return { status: 200, headers: this.options.marks ? { 'x-pinecone-request-lsn': String(number) } : {} };
  }

  /** Namespaces arise with their first record; reads of one that is not there find nothing. */
  private namespace(name: string | undefined, make: boolean): Namespace {
    const key = keyOf(name);
    const found = this.index.namespaces.get(key) ?? new Namespace();
    if (make) this.index.namespaces.set(key, found);
    return found;
  }

  private existing(name: string): Namespace {
    const found = this.index.namespaces.get(keyOf(name));
    if (found === undefined) throw new Refusal(404, 'Namespace not found');
    return found;
  }
}

function keyOf(name = ''): string {
  if (name.length > NAMESPACE_CHARACTERS)
    throw new Refusal(400, `Namespace names have at most ${NAMESPACE_CHARACTERS} characters`);
  return name === '' ? '__default__' : name;
}

function describeNamespace(name: string, { size }: Namespace): object {
  return { name, record_count: size };
}

/** Each index once, as an unsigned number of 32 bits. */
function sparseOf({ indices, values }: GivenSparse): Sparse {
  const sparse = new Map(indices.map((index, i) => [index, Math.fround(values[i] ?? NaN)]));
  if (indices.length !== values.length || sparse.size !== indices.length)
    throw new Refusal(400, 'Sparse vectors have as many values as indices, and each index once');
  if (indices.some((index) => index < 0 || index >= 2 ** 32)) throw new Refusal(400, 'Sparse indices are uint32');
  return sparse;
}

/** The components in another order than they came in, which nothing promises. */
function shown({ id, values, sparse, metadata }: Row, withValues: boolean, withMetadata: boolean): object {
  const components = [...(sparse ?? [])].reverse();
  const sparseValues = { indices: components.map(([index]) => index), values: components.map(([, value]) => value) };
  return {
    id,
    ...(withValues && values.length > 0 ? { values: [...values] } : {}),
    ...(withValues && sparse !== undefined ? { sparseValues } : {}),
    ...(withMetadata ? { metadata } : {}),
  };
}

function byId(rows: readonly Row[]): object {
  return Object.fromEntries(rows.map((row) => [row.id, shown(row, true, true)]));
}

/** A page after the token's position, bytewise; a token comes with a page that is not the last. */
function paged<T>(
  items: readonly T[],
  limit: number,
  token: string | undefined,
  idOf: (item: T) => string,
): { page: T[]; pagination: { pagination?: { next: string } } } {
  const after = token === undefined ? undefined : Buffer.from(token, 'base64').toString();
  if (token !== undefined && !after!.startsWith('after:')) throw new Refusal(400, 'Invalid pagination token');
  // Ids and names are ASCII, whose order of characters is that of their bytes.
  const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  const following = items
    .filter((item) => after === undefined || compare(idOf(item), after.slice('after:'.length)) > 0)
    .sort((a, b) => compare(idOf(a), idOf(b)));
  const page = following.slice(0, limit);
  if (following.length <= limit) return { page, pagination: {} };
  return { page, pagination: { pagination: { next: Buffer.from(`after:${idOf(page.at(-1)!)}`).toString('base64') } } };
}
