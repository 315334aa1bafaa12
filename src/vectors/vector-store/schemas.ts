/** The schemas of collections, asked for once and shared by every handle of a provider. */
import type { OperationContext } from '../../component.js';
import { isStorageError, NotFoundError } from '../../errors.js';
import { sameSchema } from '../codec/schema.js';
import type { VectorProvider, VectorSchema } from '../provider.js';

const caches = new WeakMap<VectorProvider, Map<string, VectorSchema>>();

function cacheOf(provider: VectorProvider): Map<string, VectorSchema> {
  let cache = caches.get(provider);
  if (cache === undefined) caches.set(provider, (cache = new Map<string, VectorSchema>()));
  return cache;
}

export function forgetSchema(provider: VectorProvider, name: string): void {
  cacheOf(provider).delete(name);
}

/**
 * Runs `work` with a collection's schema. A collection that another process has made anew shows as `NOT_FOUND`, or by
 * vectors of another dimension: its schema is then asked for again and `work` run once more.
 * @throws `NOT_FOUND` when there is no such collection.
 */
export async function withSchema<R>(
  provider: VectorProvider,
  name: string,
  context: OperationContext,
  work: (schema: VectorSchema) => Promise<R>,
): Promise<R> {
  const cache = cacheOf(provider);
  const known = cache.get(name);
  let failure: unknown;
  if (known !== undefined) {
    try {
      return await work(known);
    } catch (error) {
      // A failed statement has ended the transaction.
      if (!mayBeStale(error) || context.session?.failure !== undefined) throw error;
      failure = error;
      cache.delete(name);
    }
  }
  const schema = await provider.describeCollection(name, context);
  if (schema === undefined)
    throw new NotFoundError(`There is no vector collection ${name}`, {
      component: provider.name,
      details: { collection: name },
    });
  // What a transaction sees may be rolled back.
  if (context.session === undefined) cache.set(name, schema);
  if (known !== undefined && isStorageError(failure, 'VALIDATION') && sameSchema(known, schema)) throw failure;
  return work(schema);
}

function mayBeStale(error: unknown): boolean {
  if (isStorageError(error, 'NOT_FOUND')) return error.details['id'] === undefined;
  return isStorageError(error, 'VALIDATION') && error.details['dimension'] !== undefined;
}

/** Of a record of a collection that is there. */
export function missingRecord(provider: VectorProvider, name: string, id: string): NotFoundError {
  return new NotFoundError(`The collection ${name} has no vector ${JSON.stringify(id)}`, {
    component: provider.name,
    details: { collection: name, id },
  });
}
