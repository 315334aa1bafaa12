/** Collections: their roots, which say what they were declared as. */
import type { ChromaClient } from 'chromadb';
import type { OperationContext } from '../../component.js';
import { isStorageError, UnsupportedError } from '../../errors.js';
import { checkSameSchema } from '../codec/schema.js';
import type { VectorSchema } from '../provider.js';
import type { Connection } from './connection.js';
import { collectionOf, PREFIX, rootName } from './names.js';
import { spaceOf } from './score.js';

/** A root, and the id that the names of its parts carry. */
export interface Root {
  readonly id: string;
  /** `undefined` where another program has made it. */
  readonly schema: VectorSchema | undefined;
}

const MAX_ATTEMPTS = 5;

/** @throws `UNSUPPORTED` for an index that the server cannot make, before any I/O. */
function checkIndex({ index }: VectorSchema, component: string): void {
  const refuse = (what: string): UnsupportedError =>
    new UnsupportedError(`${what} is not supported by Chroma's provider`, { component });
  if (index.kind !== 'hnsw') throw refuse(`index.kind: ${index.kind}`);
  if (index.quantize === 'half' || index.quantize === 'bit') throw refuse(`index.quantize: ${index.quantize}`);
}

export class Catalogue {
  constructor(
    private readonly connection: Connection,
    private readonly component: string,
  ) {}

  /**
   * Idempotent for an equal schema, also when others do the same.
   * @param clear called before a root is made where there is none.
   * @throws `CONFLICT`, `UNSUPPORTED`
   */
  async create(schema: VectorSchema, context: OperationContext, clear: () => Promise<void>): Promise<void> {
    checkIndex(schema, this.component);
    for (let attempt = 1; ; attempt++) {
      const known = await this.root(schema.name, context, 'createCollection');
      if (known !== undefined)
        return checkSameSchema(known.schema, schema, this.component, 'as one of another program');
      await clear();
      try {
        return await this.connection.call(context, 'createCollection', (client) => makeRoot(client, schema));
      } catch (error) {
        // Made meanwhile, or by an attempt whose answer was lost: what it was made as decides.
        if (!isStorageError(error, 'ALREADY_EXISTS') || attempt === MAX_ATTEMPTS) throw error;
      }
    }
  }

  async root(name: string, context: OperationContext, operation: string): Promise<Root | undefined> {
    return found(
      this.connection.call(context, operation, async (client) => {
        const { id, metadata } = await client.getCollection({ name: rootName(name) });
        return { id, schema: readSchema(name, metadata) };
      }),
    );
  }

  async list(context: OperationContext): Promise<string[]> {
    const names = await this.connection.names(context, 'listCollections', PREFIX);
    return names.map(collectionOf).filter((name) => name !== undefined);
  }
}

/** `undefined` for what the server does not have. */
export async function found<R>(call: Promise<R>): Promise<R | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isStorageError(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
}

/** Never the server's `get_or_create`: it gives what is there without a word, whatever that is. */
async function makeRoot(client: ChromaClient, schema: VectorSchema): Promise<void> {
  const { name, dimension, metric, fields, index } = schema;
  await client.createCollection({
    name: rootName(name),
    // Without it the client looks for a package that makes embeddings.
    embeddingFunction: null,
    configuration: { hnsw: { space: spaceOf(metric) } },
    metadata: {
      'qm.dimension': dimension,
      'qm.metric': metric,
      'qm.fields': JSON.stringify(fields),
      'qm.index': JSON.stringify(index),
    },
  });
}

function readSchema(name: string, metadata: Readonly<Record<string, unknown>> | undefined): VectorSchema | undefined {
  const { 'qm.dimension': dimension, 'qm.metric': metric, 'qm.fields': fields, 'qm.index': index } = metadata ?? {};
  if (typeof dimension !== 'number' || typeof fields !== 'string' || typeof index !== 'string') return undefined;
  return {
    name,
    dimension,
    metric: metric as VectorSchema['metric'],
    fields: JSON.parse(fields) as VectorSchema['fields'],
    index: JSON.parse(index) as VectorSchema['index'],
  };
}
