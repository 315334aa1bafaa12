/** A collection's parts, one for each tenant and namespace: found by name once, then worked with by id. */
import type { ChromaClient } from 'chromadb';
import type { Clock } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { ConflictError, isStorageError, NotFoundError } from '../../errors.js';
import { canonicalSchema, sameSchema } from '../codec/schema.js';
import type { VectorSchema, VectorScope } from '../provider.js';
import { found, type Catalogue } from './catalogue.js';
import type { Connection } from './connection.js';
import { EVERY } from './filter.js';
import { partName, partPrefix, rootName, rootPrefix } from './names.js';
import { deleteMatching } from './records.js';
import { spaceOf } from './score.js';

/** Ids that are remembered; beyond it the oldest is asked for again. */
const MAX_KNOWN = 10_000;

/**
 * Milliseconds for which an id is trusted without asking for its collection: a deletion that died half way leaves parts that
 * answer, while another process has made the collection anew.
 */
const TRUSTED = 5_000;

export class Parts {
  private readonly known = new Map<string, { readonly id: string; readonly until: number }>();

  constructor(
    private readonly connection: Connection,
    private readonly catalogue: Catalogue,
    private readonly component: string,
    private readonly clock: Clock,
  ) {}

  /** Runs `work` with the id of a part; `absent` where nothing was ever written. @throws `NOT_FOUND` for the collection. */
  async read<R>(
    schema: VectorSchema,
    scope: VectorScope,
    context: OperationContext,
    operation: string,
    absent: R,
    work: (id: string) => Promise<R>,
  ): Promise<R> {
    return this.using(schema, scope, work, async () => {
      const id = await this.find(schema, scope, context, operation);
      return id === undefined ? absent : work(id);
    });
  }

  /** As `read`; a part that is not there is made. */
  async write<R>(
    schema: VectorSchema,
    scope: VectorScope,
    context: OperationContext,
    operation: string,
    work: (id: string) => Promise<R>,
  ): Promise<R> {
    return this.using(schema, scope, work, async () => work(await this.make(schema, scope, context, operation)));
  }

  /**
   * Makes a collection. What a deletion that has not ended left goes first: who remembers a part of it is told so, and does
   * not write where nobody looks.
   */
  create(schema: VectorSchema, context: OperationContext): Promise<void> {
    return this.catalogue.create(schema, context, () => this.dropRest(schema.name, context, 'createCollection'));
  }

  /** Deletes a collection with its parts, and with what deletions that did not end have left. */
  async deleteAll(collection: string, context: OperationContext): Promise<boolean> {
    const operation = 'deleteCollection';
    const existed = (await this.catalogue.root(collection, context, operation)) !== undefined;
    // The root first: whoever looks for a part asks for it, and makes none without.
    if (existed) await this.drop(rootName(collection), context);
    await this.dropRest(collection, context, operation);
    return existed;
  }

  /** The parts of roots that are gone. */
  private async dropRest(collection: string, context: OperationContext, operation: string): Promise<void> {
    for (;;) {
      const names = await this.connection.names(context, operation, partPrefix(collection));
      // Made anew meanwhile: its parts are not ours to take.
      const current = await this.catalogue.root(collection, context, operation);
      const kept = current === undefined ? undefined : rootPrefix(collection, current.id);
      const gone = names.filter(
        (name) => name !== rootName(collection) && (kept === undefined || !name.startsWith(kept)),
      );
      if (gone.length === 0) return;
      const results = await Promise.allSettled(gone.map((name) => this.dropPart(name, context)));
      for (const result of results) if (result.status === 'rejected') throw result.reason;
    }
  }

  /** With the id that is remembered; without it, or when the server has it no more, as `otherwise`. */
  private async using<R>(
    schema: VectorSchema,
    scope: VectorScope,
    work: (id: string) => Promise<R>,
    otherwise: () => Promise<R>,
  ): Promise<R> {
    const key = keyOf(schema, scope);
    const known = this.known.get(key);
    if (known === undefined || known.until < this.clock.monotonic()) return otherwise();
    try {
      return await work(known.id);
    } catch (error) {
      if (!isStorageError(error, 'NOT_FOUND')) throw error;
      this.known.delete(key);
      return otherwise();
    }
  }

  private async find(
    schema: VectorSchema,
    scope: VectorScope,
    context: OperationContext,
    operation: string,
  ): Promise<string | undefined> {
    const name = await this.nameOf(schema, scope, context, operation);
    const id = await found(
      this.connection.call(context, operation, async (client) => (await client.getCollection({ name })).id),
    );
    if (id !== undefined) this.remember(schema, scope, id);
    return id;
  }

  private async make(
    schema: VectorSchema,
    scope: VectorScope,
    context: OperationContext,
    operation: string,
  ): Promise<string> {
    const name = await this.nameOf(schema, scope, context, operation);
    const { id, space } = await this.connection.call(context, operation, (client) =>
      makePart(client, name, schema, scope),
    );
    // The server gives what is there under the name, whatever its metric.
    if (space !== spaceOf(schema.metric))
      throw new ConflictError('CONFLICT', `The server keeps ${schema.name} with the metric ${String(space)}`, {
        component: this.component,
        details: { collection: schema.name },
      });
    const current = await this.nameOf(schema, scope, context, operation).catch(async (error: unknown) => {
      if (isStorageError(error, 'NOT_FOUND')) await this.drop(name, context);
      throw error;
    });
    // A collection that was made anew meanwhile has parts of other names, and nobody looks into this one.
    if (current !== name) {
      await this.drop(name, context);
      return this.make(schema, scope, context, operation);
    }
    this.remember(schema, scope, id);
    return id;
  }

  /** @throws `NOT_FOUND` when the collection is not there, or is declared otherwise. */
  private async nameOf(
    schema: VectorSchema,
    scope: VectorScope,
    context: OperationContext,
    operation: string,
  ): Promise<string> {
    const { name } = schema;
    const root = await this.catalogue.root(name, context, operation);
    if (root?.schema === undefined || !sameSchema(root.schema, schema))
      throw new NotFoundError(`There is no vector collection ${name}`, {
        component: this.component,
        operation,
        details: { collection: name },
      });
    return partName(name, root.id, scope);
  }

  private async dropPart(name: string, context: OperationContext): Promise<void> {
    const operation = 'deleteCollection';
    const id = await found(
      this.connection.call(context, operation, async (client) => (await client.getCollection({ name })).id),
    );
    // The records first: what the server keeps of their lists shows up in collections that are made later.
    if (id !== undefined) await found(deleteMatching(this.connection, id, EVERY, context, operation));
    await this.drop(name, context);
  }

  private async drop(name: string, context: OperationContext): Promise<void> {
    await found(this.connection.call(context, 'deleteCollection', (client) => client.deleteCollection({ name })));
  }

  private remember(schema: VectorSchema, scope: VectorScope, id: string): void {
    if (this.known.size >= MAX_KNOWN) this.known.delete(this.known.keys().next().value!);
    this.known.set(keyOf(schema, scope), { id, until: this.clock.monotonic() + TRUSTED });
  }
}

function keyOf(schema: VectorSchema, { tenant, namespace }: VectorScope): string {
  return JSON.stringify([canonicalSchema(schema), tenant, namespace]);
}

async function makePart(
  client: ChromaClient,
  name: string,
  { metric, index }: VectorSchema,
  { tenant, namespace }: VectorScope,
): Promise<{ readonly id: string; readonly space: unknown }> {
  const { m, efConstruction } = index.kind === 'hnsw' ? index : {};
  const { id, configuration } = await client.getOrCreateCollection({
    name,
    embeddingFunction: null,
    configuration: {
      hnsw: {
        space: spaceOf(metric),
        ...(m === undefined ? {} : { max_neighbors: m }),
        ...(efConstruction === undefined ? {} : { ef_construction: efConstruction }),
      },
    },
    // For whoever looks at the server: the name may hold no more than their hash.
    metadata: { 'qm.tenant': tenant, 'qm.namespace': namespace },
  });
  return { id, space: configuration.hnsw?.space };
}
