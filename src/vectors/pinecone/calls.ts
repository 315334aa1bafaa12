/** Calls to the index of a collection, and what their failures say about the collection. */
import type { Index } from '@pinecone-database/pinecone';
import type { OperationContext } from '../../component.js';
import { isStorageError, ValidationError } from '../../errors.js';
import type { VectorSchema } from '../provider.js';
import type { Answer, Connection } from './connection.js';
import { saidBy } from './fault.js';
import type { Indexes } from './indexes.js';

/** One operation on a collection. */
export interface Target {
  readonly schema: VectorSchema;
  readonly namespace: string;
  readonly operation: string;
  readonly context: OperationContext;
}

export class Calls {
  constructor(
    readonly connection: Connection,
    readonly indexes: Indexes,
  ) {}

  /** @param absent what a namespace that is not there answers: they arise with their first record. */
  async index<R>(target: Target, absent: R, work: (index: Index) => Promise<R>): Promise<Answer<R>> {
    const { context, operation } = target;
    const found = await this.at(target, (host) => this.connection.data(context, operation, host, work));
    return found ?? { value: absent };
  }

  /** A call that the client cannot make. `undefined`: there is no such namespace. */
  post(target: Target, path: string, body: object): Promise<unknown> {
    const { context, operation } = target;
    return this.at(target, (host) => this.connection.post(context, operation, host, path, body));
  }

  private async at<R>(target: Target, work: (host: string) => Promise<R>): Promise<R | undefined> {
    const { schema, operation, context } = target;
    const { name, dimension } = schema;
    const host = await this.indexes.host(name, context, operation);
    try {
      return await work(host);
    } catch (error) {
      if (isStorageError(error, 'UNAVAILABLE')) this.indexes.forget(name);
      // The collection was made anew: the caller asks for its dimension again.
      if (isStorageError(error, 'VALIDATION') && /dimension/i.test(saidBy(error) ?? ''))
        throw new ValidationError('VALIDATION', error.message, {
          component: error.component,
          operation,
          details: { ...error.details, dimension },
          cause: error.cause,
        });
      if (!isStorageError(error, 'NOT_FOUND')) throw error;
      // Either the namespace is not there, or the whole index: that one is asked for.
      this.indexes.forget(name);
      const now = await this.indexes.host(name, context, operation);
      return now === host ? undefined : work(now);
    }
  }
}
