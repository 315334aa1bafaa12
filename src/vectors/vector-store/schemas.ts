/**
 * The declarations of collections, asked for once and shared by every handle of a provider. A provider notices one that is
 * not the collection's any more; what is decided here, without asking it, is decided by one that was asked for lately.
 */
import type { Clock } from '../../clock.js';
import type { OperationContext } from '../../component.js';
import { ConflictError, isStorageError, NotFoundError } from '../../errors.js';
import { sameSchema } from '../codec/schema.js';
import type { VectorProvider, VectorSchema } from '../provider.js';

/** Milliseconds for which a declaration decides alone: what is refused by it, and which filter can match nothing. */
const TRUSTED = 5_000;

interface Known {
  readonly schema: VectorSchema;
  readonly asked: number;
}

export interface SchemaSource {
  readonly provider: VectorProvider;
  readonly clock: Clock;
}

/** To be called before an answer is given that the provider has no part in. */
export type Confirm = () => Promise<void>;

const caches = new WeakMap<VectorProvider, Map<string, Known>>();

function cacheOf(provider: VectorProvider): Map<string, Known> {
  let cache = caches.get(provider);
  if (cache === undefined) caches.set(provider, (cache = new Map<string, Known>()));
  return cache;
}

export function forgetSchema(provider: VectorProvider, name: string): void {
  cacheOf(provider).delete(name);
}

/** What the provider says now. @throws `NOT_FOUND` when there is no such collection. */
export async function askSchema(
  { provider, clock }: SchemaSource,
  name: string,
  context: OperationContext,
): Promise<VectorSchema> {
  const asked = clock.monotonic();
  const schema = await provider.describeCollection(name, context);
  if (schema === undefined) {
    forgetSchema(provider, name);
    throw missingCollection(provider, name);
  }
  // What a transaction sees may be rolled back.
  if (context.session === undefined) cacheOf(provider).set(name, { schema, asked });
  return schema;
}

/**
 * Runs `work` with a collection's schema. One that is remembered and may be wrong is asked for again, and `work` run once
 * more where it was: after `NOT_FOUND`, after vectors of another dimension, and unless it was asked for lately after
 * whatever else was refused by it, and when `work` asks for it.
 * @throws `NOT_FOUND` when there is no such collection.
 */
export async function withSchema<R>(
  source: SchemaSource,
  name: string,
  context: OperationContext,
  work: (schema: VectorSchema, confirm: Confirm) => Promise<R>,
): Promise<R> {
  const { provider, clock } = source;
  const known = cacheOf(provider).get(name);
  if (known === undefined) return work(await askSchema(source, name, context), async () => undefined);
  const isRecent = (): boolean => clock.monotonic() - known.asked < TRUSTED;
  const isStill = async (): Promise<boolean> => sameSchema(await askSchema(source, name, context), known.schema);
  try {
    return await work(known.schema, async () => {
      if (!isRecent() && !(await isStill())) throw missingCollection(provider, name);
    });
  } catch (error) {
    const isGone = isStorageError(error, 'NOT_FOUND') && error.details['id'] === undefined;
    if (isGone) forgetSchema(provider, name);
    // A failed statement has ended the transaction.
    if (context.session?.failure !== undefined) throw error;
    if (!isGone && (!isRefusal(error) || (isRecent() && !isDimension(error)) || (await isStill()))) throw error;
  }
  return work(await askSchema(source, name, context), async () => undefined);
}

const REFUSALS: ReadonlySet<string> = new Set(['VALIDATION', 'INVALID_FILTER', 'UNSUPPORTED']);

/** What may come of a declaration that is not the collection's any more. */
function isRefusal(error: unknown): boolean {
  return isStorageError(error) && REFUSALS.has(error.code);
}

function isDimension(error: unknown): boolean {
  return isStorageError(error, 'VALIDATION') && error.details['dimension'] !== undefined;
}

function missingCollection(provider: VectorProvider, name: string): NotFoundError {
  return new NotFoundError(`There is no vector collection ${name}`, {
    component: provider.name,
    details: { collection: name },
  });
}

/** Of a record of a collection that is there. */
export function missingRecord(provider: VectorProvider, name: string, id: string): NotFoundError {
  return new NotFoundError(`The collection ${name} has no vector ${JSON.stringify(id)}`, {
    component: provider.name,
    details: { collection: name, id },
  });
}

/** What was encoded for a collection does not fit the one that took its place: calling again encodes it anew. */
export function madeAnew(provider: VectorProvider, name: string): ConflictError {
  return new ConflictError('CONFLICT', `The vector collection ${name} was deleted and made anew meanwhile`, {
    component: provider.name,
    retryable: true,
    details: { collection: name },
  });
}
