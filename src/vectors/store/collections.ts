/** The collections of one provider, as a tenant's handle sees them. */
import type { BeginOperation, CallOptions, OperationContext } from '../../component.js';
import { isStorageError, NotFoundError } from '../../errors.js';
import type { VectorCapabilities, VectorCollectionSpec, VectorProvider, VectorSchema } from '../provider.js';
import { checkVectorCollectionName, resolveVectorSchema } from './schema.js';

/** What is known of a provider's collections; shared by the handles of all tenants. */
const schemas = new WeakMap<VectorProvider, Map<string, VectorSchema>>();

export abstract class VectorCollections {
  private readonly known: Map<string, VectorSchema>;

  constructor(
    protected readonly provider: VectorProvider,
    protected readonly tenant: string,
    private readonly begin: BeginOperation,
  ) {
    this.known = schemas.get(provider) ?? new Map<string, VectorSchema>();
    schemas.set(provider, this.known);
  }

  /** What the provider can do. What it cannot is `UNSUPPORTED`, before any I/O. */
  get capabilities(): VectorCapabilities {
    return this.provider.capabilities;
  }

  /** Makes a collection, for all tenants. Idempotent. @throws `CONFLICT` when the name has another declaration. */
  async createCollection(spec: VectorCollectionSpec, options?: CallOptions): Promise<void> {
    const schema = resolveVectorSchema(spec, this.capabilities);
    await this.run('createCollection', options, (context) => this.provider.createCollection(schema, context));
  }

  /** @throws `NOT_FOUND` */
  async describeCollection(name: string, options?: CallOptions): Promise<VectorSchema> {
    checkVectorCollectionName(name);
    return this.run('describeCollection', options, (context) => this.schema(name, context));
  }

  listCollections(options?: CallOptions): Promise<string[]> {
    return this.run('listCollections', options, (context) => this.provider.listCollections(context));
  }

  /** Deletes a collection of all tenants; gives whether there was one. */
  async deleteCollection(name: string, options?: CallOptions): Promise<boolean> {
    checkVectorCollectionName(name);
    return this.run('deleteCollection', options, async (context) => {
      this.known.delete(name);
      return this.provider.deleteCollection(name, context);
    });
  }

  protected async run<R>(
    operation: string,
    options: CallOptions | undefined,
    work: (context: OperationContext) => Promise<R>,
  ): Promise<R> {
    const { context, end } = this.begin(operation, options);
    try {
      return await work(context);
    } finally {
      end();
    }
  }

  protected async schema(name: string, context: OperationContext): Promise<VectorSchema> {
    const known = this.known.get(name);
    if (known !== undefined) return known;
    const schema = await this.provider.describeCollection(name, context);
    if (schema === undefined)
      throw new NotFoundError(`The vector collection ${name} is not there: createCollection makes it`, {
        component: this.provider.name,
        details: { collection: name },
      });
    // What a transaction sees may yet be rolled back.
    if (context.session === undefined) this.known.set(name, schema);
    return schema;
  }

  /** Works with the schema that is known, and once more with a new one when the collection was deleted and made anew. */
  protected async current<R>(
    name: string,
    context: OperationContext,
    work: (schema: VectorSchema) => Promise<R>,
  ): Promise<R> {
    const wasKnown = this.known.has(name);
    try {
      return await work(await this.schema(name, context));
    } catch (error) {
      if (!wasKnown || !isStorageError(error, 'NOT_FOUND') || context.session !== undefined) throw error;
      this.known.delete(name);
      return work(await this.schema(name, context));
    }
  }
}
