/** What a collection stands on: the storage that made it gives it, and every operation runs through it. */
import type { Clock } from '../clock.js';
import type { BeginOperation, CallOptions, OperationContext } from '../component.js';
import type { RecordBackend, RecordSchema } from '../backends/backend.js';

export interface CollectionHost {
  readonly backend: RecordBackend;
  readonly tenant: string;
  readonly clock: Clock;
  readonly begin: BeginOperation;
  /** Makes the collections' tables on first use; `undefined` once they are known to be there. */
  ensure(schemas: readonly RecordSchema[], context: OperationContext): Promise<void> | undefined;
}

/** Admits an operation, makes sure of the tables, and runs it. What `work` throws at once rejects too. */
export async function runOperation<R>(
  host: CollectionHost,
  schemas: readonly RecordSchema[],
  name: string,
  options: CallOptions | undefined,
  work: (context: OperationContext) => Promise<R>,
): Promise<R> {
  const operation = host.begin(name, options);
  try {
    const ensured = host.ensure(schemas, operation.context);
    if (ensured !== undefined) await ensured;
    return await work(operation.context);
  } finally {
    operation.end();
  }
}
