/** Collections: an index each, its declaration in the index's tags. */
import type { IndexModel } from '@pinecone-database/pinecone';
import type { OperationContext } from '../../component.js';
import { isStorageError, NotFoundError, UnavailableError, UnsupportedError } from '../../errors.js';
import { checkSameSchema, DEFAULT_INDEX, sameSchema } from '../codec/schema.js';
import type { VectorSchema } from '../provider.js';
import type { Connection } from './connection.js';
import { checkIndexName } from './names.js';
import { METRIC_NAMES } from './score.js';
import { decodeTags, encodeTags, incarnationOf } from './tags.js';

/** Where an index is, and which one of those that had its name. */
export interface Located {
  readonly host: string;
  readonly made: string;
}

interface Known extends Located {
  readonly schema: VectorSchema | undefined;
  readonly until: number;
}

/**
 * Milliseconds for which what an index was is believed. Nothing in its answers tells that another process has made it anew:
 * it may have the host of the one before.
 */
const TRUSTED = 5_000;

/** Milliseconds that a description may take where what is known of an index will do. */
const REFRESH = 2_000;

/** @throws `UNSUPPORTED` for an index of another kind or form: the service has one, and nothing of it to choose. */
function checkIndex({ index }: VectorSchema, component: string): void {
  const fixed: Readonly<Record<string, unknown>> = DEFAULT_INDEX;
  const given: Readonly<Record<string, unknown>> = { ...index };
  const key = Object.keys(given).find((own) => given[own] !== undefined && given[own] !== fixed[own]);
  if (key === undefined) return;
  throw new UnsupportedError(`index.${key}: ${String(given[key])} is not supported by Pinecone's provider`, {
    component,
  });
}

export class Indexes {
  /** Of indexes that were ready. */
  private readonly known = new Map<string, Known>();

  constructor(private readonly connection: Connection) {}

  /** Returns when the index can be used: the service answers before it can. */
  async create(schema: VectorSchema, context: OperationContext): Promise<void> {
    const { component } = this.connection;
    const name = checkIndexName(schema.name, component);
    checkIndex(schema, component);
    const tags = encodeTags(schema, component);
    const message = `The index ${name} was not ready in time: it is being made; call createCollection again`;
    await this.connection.until(context, 'createCollection', message, async () => {
      const found = await this.find(name, context, 'createCollection');
      if (found === undefined) await this.make(schema, tags, context);
      if (found === undefined || isGoing(found)) return undefined;
      this.checkSame(found, schema);
      return this.noteReady(found);
    });
  }

  async describe(name: string, context: OperationContext): Promise<VectorSchema | undefined> {
    const found = await this.find(name, context, 'describeCollection');
    if (found === undefined || isGoing(found)) return undefined;
    this.noteReady(found);
    return decodeTags(found.tags, name);
  }

  async list(context: OperationContext): Promise<string[]> {
    const { indexes = [] } = await this.connection.call(context, 'listCollections', (client) => client.listIndexes());
    return indexes
      .filter((index) => !isGoing(index) && decodeTags(index.tags, index.name) !== undefined)
      .map(({ name }) => name);
  }

  /** Returns when the name is free again. */
  async delete(name: string, context: OperationContext): Promise<boolean> {
    const operation = 'deleteCollection';
    this.expire(name);
    const found = await this.find(name, context, operation);
    // An index of somebody else is not ours to delete.
    if (found === undefined || decodeTags(found.tags, name) === undefined) return false;
    const deleted = !isGoing(found) && (await this.remove(name, context, operation));
    const message = `The index ${name} was not gone in time: it is being deleted`;
    let going = isGoing(found);
    await this.connection.until(context, operation, message, async () => {
      const left = await this.find(name, context, operation);
      // Somebody else may have taken the name already.
      if (left === undefined || (going && !isGoing(left))) return true;
      going ||= isGoing(left);
      return undefined;
    });
    return deleted;
  }

  /**
   * Where the records of a collection are.
   * @throws `NOT_FOUND`, also when it is declared otherwise; `TIMEOUT` when the index is not ready in time.
   */
  async locate(schema: VectorSchema, context: OperationContext, operation: string): Promise<Located> {
    const known = this.known.get(schema.name);
    const isTrusted = known !== undefined && known.until > this.connection.clock.monotonic();
    return this.declared(schema, isTrusted ? known : await this.lookUp(schema.name, known, context, operation));
  }

  /** As `locate`, by what the service says now. @throws as `locate`, and what keeps the service from saying it. */
  async locateAnew(schema: VectorSchema, context: OperationContext, operation: string): Promise<Located> {
    return this.declared(schema, await this.lookUp(schema.name, undefined, context, operation));
  }

  private declared(schema: VectorSchema, found: Known): Located {
    if (found.schema === undefined || !sameSchema(found.schema, schema)) throw this.missing(schema.name);
    return found;
  }

  /**
   * One asks again while the others go on; where the service cannot say, what was known is believed on.
   * @param known what will do; absent: only the service's answer will.
   */
  private async lookUp(
    name: string,
    known: Known | undefined,
    context: OperationContext,
    operation: string,
  ): Promise<Known> {
    const now = this.connection.clock.monotonic();
    if (known !== undefined) this.known.set(name, { ...known, until: now + TRUSTED });
    // What the caller came for needs its time too.
    let once = known === undefined ? undefined : Math.min(REFRESH, (context.deadline - now) / 2);
    try {
      return await this.connection.until(context, operation, `The index ${name} was not ready in time`, async () => {
        const found = await this.find(name, context, operation, once);
        once = undefined;
        if (found === undefined || isGoing(found)) throw this.missing(name);
        return this.noteReady(found);
      });
    } catch (error) {
      const isSilent = isStorageError(error, 'UNAVAILABLE') || isStorageError(error, 'TIMEOUT');
      if (known !== undefined && once !== undefined && isSilent) return known;
      if (isStorageError(error, 'NOT_FOUND')) this.known.delete(name);
      else this.expire(name);
      throw error;
    }
  }

  /** What is known of an index may be wrong: the next call asks anew. */
  expire(name: string): void {
    const known = this.known.get(name);
    if (known !== undefined) this.known.set(name, { ...known, until: -Infinity });
  }

  private missing(name: string): NotFoundError {
    return new NotFoundError(`There is no vector collection ${name}`, {
      component: this.connection.component,
      details: { collection: name },
    });
  }

  private async find(
    name: string,
    context: OperationContext,
    operation: string,
    once?: number,
  ): Promise<IndexModel | undefined> {
    try {
      return await this.connection.call(context, operation, (client) => client.describeIndex(name), once);
    } catch (error) {
      if (isStorageError(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }

  private async make(schema: VectorSchema, tags: Record<string, string>, context: OperationContext): Promise<void> {
    const { name, dimension, metric } = schema;
    const spec = { serverless: { ...this.connection.place } };
    const kind = dimension === 0 ? ({ vectorType: 'sparse' } as const) : ({ vectorType: 'dense', dimension } as const);
    try {
      await this.connection.call(context, 'createCollection', (client) =>
        client.createIndex({ name, metric: METRIC_NAMES[metric], spec, tags, ...kind }),
      );
    } catch (error) {
      // Somebody else was first, or an earlier attempt was; which one shows when the index is described.
      if (!isStorageError(error, 'ALREADY_EXISTS')) throw error;
    }
  }

  private async remove(name: string, context: OperationContext, operation: string): Promise<boolean> {
    let attempts = 0;
    try {
      await this.connection.call(context, operation, (client, { number }) => {
        attempts = number;
        return client.deleteIndex(name);
      });
      return true;
    } catch (error) {
      if (!isStorageError(error, 'NOT_FOUND')) throw error;
      // By an earlier attempt, whose answer was lost, or by somebody else.
      return attempts > 1;
    }
  }

  private checkSame({ tags }: IndexModel, schema: VectorSchema): void {
    const known = decodeTags(tags, schema.name);
    checkSameSchema(known, schema, this.connection.component, 'as an index that is no collection');
  }

  /** Where it is, once it can be used. @throws `UNAVAILABLE` when it never will be. */
  private noteReady({ name, host, privateHost, status, tags }: IndexModel): Known | undefined {
    if (status.state === 'InitializationFailed')
      throw new UnavailableError(`Pinecone could not make the index ${name}: delete it, or ask its support`, {
        component: this.connection.component,
        retryable: false,
        details: { collection: name, state: status.state },
      });
    if (!status.ready) return undefined;
    const until = this.connection.clock.monotonic() + TRUSTED;
    const located = { host: privateHost ?? host, made: incarnationOf(tags), schema: decodeTags(tags, name), until };
    this.known.set(name, located);
    return located;
  }
}

function isGoing({ status }: IndexModel): boolean {
  return status.state === 'Terminating';
}
