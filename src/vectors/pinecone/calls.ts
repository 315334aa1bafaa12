/** Calls to the index of a collection, and what their failures say about the collection. */
import type { Index } from '@pinecone-database/pinecone';
import type { OperationContext } from '../../component.js';
import { isStorageError, ValidationError } from '../../errors.js';
import type { VectorSchema } from '../provider.js';
import type { RemoteAttempt } from '../remote/call.js';
import type { Answer, Connection } from './connection.js';
import { saidBy } from './fault.js';
import type { Sight } from './freshness.js';
import type { Indexes } from './indexes.js';

/** One operation on a collection. */
export interface Target {
  readonly schema: VectorSchema;
  readonly namespace: string;
  readonly operation: string;
  readonly context: OperationContext;
}

export type Found<R> = Answer<R> & Sight;

export class Calls {
  constructor(
    readonly connection: Connection,
    readonly indexes: Indexes,
  ) {}

  /** @param absent what a namespace that is not there answers: they arise with their first record. */
  async index<R>(
    target: Target,
    absent: R,
    work: (index: Index, attempt: RemoteAttempt) => Promise<R>,
  ): Promise<Found<R>> {
    const { context, operation } = target;
    const { made, answer } = await this.at(target, (host) => this.connection.data(context, operation, host, work));
    return { made, isAbsent: answer === undefined, ...(answer ?? { value: absent }) };
  }

  /** A call that the client cannot make. `undefined`: there is no such namespace. */
  async post(target: Target, path: string, body: object): Promise<unknown> {
    const { context, operation } = target;
    return (await this.at(target, (host) => this.connection.post(context, operation, host, path, body))).answer;
  }

  /** Without an answer: there is no such namespace. */
  private async at<R>(
    target: Target,
    work: (host: string) => Promise<R>,
  ): Promise<{ readonly made: string; readonly answer: R | undefined }> {
    const { schema, operation, context } = target;
    const { name, dimension } = schema;
    const { host, made } = await this.indexes.locate(schema, context, operation);
    try {
      return { made, answer: await work(host) };
    } catch (error) {
      if (isStorageError(error, 'UNAVAILABLE')) this.indexes.expire(name);
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
      const now = await this.indexes.locateAnew(schema, context, operation);
      return { made: now.made, answer: now.host === host ? undefined : await work(now.host) };
    }
  }
}
