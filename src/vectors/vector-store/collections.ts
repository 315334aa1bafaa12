/** The collections of a provider, and what every operation on one of them runs through. */
import type { Clock } from '../../clock.js';
import {
  runSteps,
  type AdmittedCall,
  type BeginOperation,
  type CallOptions,
  type DuringCall,
  type OperationContext,
} from '../../component.js';
import { runAdmitted } from '../../operation.js';
import { UnsupportedError, ValidationError } from '../../errors.js';
import { compareText } from '../../filter/evaluate.js';
import { Handle } from '../../handle.js';
import { resolveSchema } from '../codec/schema.js';
import { checkCollectionName, checkNamespace } from '../codec/values.js';
import type {
  VectorCapabilities,
  VectorCollectionSpec,
  VectorProvider,
  VectorSchema,
  VectorScope,
} from '../provider.js';
import type { NamespaceOptions } from './options.js';
import { checkOptions } from './plan.js';
import { askSchema, forgetSchema, withSchema, type Confirm, type SchemaSource } from './schemas.js';

export abstract class VectorCollections extends Handle {
  /**
   * @param tenant whose records they are; `undefined`: nobody's, only the collections themselves can be worked with.
   * @param forTenant whether it is a tenant's handle: collections are every tenant's, so that it may not make or delete them.
   * @param duringCall in a transaction: refuses it where a call of it was not awaited.
   * @param admit outside of transactions: admits a call of several operations as one.
   */
  constructor(
    protected readonly provider: VectorProvider,
    private readonly tenant: string | undefined,
    protected readonly begin: BeginOperation,
    /** The one that the deadlines of operations are told by. */
    protected readonly clock: Clock,
    private readonly forTenant = false,
    private readonly duringCall?: DuringCall,
    protected readonly admit?: (operation: string) => AdmittedCall,
  ) {
    super();
  }

  /** What the provider can do; what it cannot is refused with `UNSUPPORTED` before any I/O. */
  get capabilities(): VectorCapabilities {
    return this.provider.capabilities;
  }

  toJSON(): Record<string, unknown> {
    return { provider: this.provider.name, ...(this.tenant === undefined ? {} : { tenant: this.tenant }) };
  }

  /**
   * Makes a collection, for every tenant; nothing happens when there is an equal one.
   * @throws `CONFLICT` when its name has another declaration; `VALIDATION`, also on a tenant's handle; `UNSUPPORTED`.
   */
  async createCollection(spec: VectorCollectionSpec, options?: CallOptions): Promise<void> {
    this.refuseTenant('createCollection');
    checkOptions(options, []);
    const schema = resolveSchema(spec, this.capabilities);
    const create = async (context: OperationContext): Promise<void> => {
      await this.provider.createCollection(schema, context);
      forgetSchema(this.provider, schema.name);
    };
    await this.run('createCollection', options, create, schema.name);
  }

  /** As the provider says now. @throws `NOT_FOUND` */
  async describeCollection(name: string, options?: CallOptions): Promise<VectorSchema> {
    checkCollectionName(name);
    checkOptions(options, []);
    const ask = (context: OperationContext): Promise<VectorSchema> => askSchema(this.source, name, context);
    const schema = await this.run('describeCollection', options, ask, name);
    return { ...schema, fields: { ...schema.fields }, index: { ...schema.index } };
  }

  /** The names, in their order. */
  async listCollections(options?: CallOptions): Promise<string[]> {
    checkOptions(options, []);
    const names = await this.run('listCollections', options, (context) => this.provider.listCollections(context));
    return names.sort(compareText);
  }

  /**
   * Deletes a collection with the records of every tenant. @returns whether there was one.
   * @throws `VALIDATION` on a tenant's handle.
   */
  async deleteCollection(name: string, options?: CallOptions): Promise<boolean> {
    this.refuseTenant('deleteCollection');
    checkCollectionName(name);
    checkOptions(options, []);
    const remove = async (context: OperationContext): Promise<boolean> => {
      forgetSchema(this.provider, name);
      const deleted = await this.provider.deleteCollection(name, context);
      forgetSchema(this.provider, name);
      return deleted;
    };
    return this.run('deleteCollection', options, remove, name);
  }

  protected get source(): SchemaSource {
    const { provider, clock } = this;
    return { provider, clock };
  }

  protected scope(options: NamespaceOptions | undefined): VectorScope {
    if (this.tenant === undefined)
      throw new ValidationError('VALIDATION', "A tenant is required (tenancy: 'required'): use storage.tenant(id)");
    return { tenant: this.tenant, namespace: checkNamespace(options?.namespace) };
  }

  private refuseTenant(operation: string): void {
    if (!this.forTenant) return;
    const message = `${operation}: a collection is every tenant's, not to be made or deleted by one: use the manager's vectors()`;
    throw new ValidationError('VALIDATION', message, { operation, component: this.provider.name });
  }

  protected async inCollection<R>(
    operation: string,
    name: string,
    options: CallOptions | undefined,
    keys: readonly string[] | undefined,
    work: (schema: VectorSchema, context: OperationContext, confirm: Confirm) => Promise<R>,
  ): Promise<R> {
    checkCollectionName(name);
    if (keys !== undefined) checkOptions(options, keys);
    const known = (context: OperationContext): Promise<R> =>
      withSchema(this.source, name, context, (schema, confirm) => work(schema, context, confirm));
    return this.run(operation, options, known, name);
  }

  /** For a call of several operations. */
  protected during<R>(operation: string, work: () => Promise<R>): Promise<R> {
    return this.duringCall === undefined ? runSteps(this.admit, operation, work) : this.duringCall(operation, work);
  }

  protected run<R>(
    operation: string,
    options: CallOptions | undefined,
    work: (context: OperationContext) => Promise<R>,
    collection?: string,
  ): Promise<R> {
    const { provider } = this;
    const admitted = (context: OperationContext): Promise<R> => {
      if (context.session === undefined || provider.capabilities.transactions) return work(context);
      const { name } = provider;
      throw new UnsupportedError(`${name} cannot take part in a transaction`, { component: name, operation });
    };
    return runAdmitted(this.begin, operation, options, admitted, collection);
  }
}
