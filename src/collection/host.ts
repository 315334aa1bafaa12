/** What a collection stands on: the storage that made it gives it, and every operation runs through it. */
import type { Clock } from '../clock.js';
import type { AdmittedCall, BeginOperation, CallOptions, DuringCall, OperationContext } from '../component.js';
import { runAdmitted } from '../operation.js';
import type { RecordBackend, RecordSchema } from '../backends/backend.js';

export interface CollectionHost {
  readonly backend: RecordBackend;
  /** Reading it may throw: where a tenant is required and none is named. */
  readonly tenant: string;
  readonly clock: Clock;
  readonly begin: BeginOperation;
  /** In a transaction: refuses it where a call of it was not awaited. */
  readonly during?: DuringCall | undefined;
  /** Outside of transactions: admits a call of several steps as one. */
  readonly admit?: ((operation: string) => AdmittedCall) | undefined;
  /** Makes the collections' tables on first use; `undefined` once they are known to be there. */
  readonly ensure: (schemas: readonly RecordSchema[], context: OperationContext) => Promise<void> | undefined;
}

/** Admits an operation, makes sure of the tables, and runs it. What `work` throws at once rejects too. */
export function runOperation<R>(
  host: CollectionHost,
  schemas: readonly RecordSchema[],
  name: string,
  options: CallOptions | undefined,
  work: (context: OperationContext) => Promise<R>,
): Promise<R> {
  const prepared = (context: OperationContext): Promise<R> => {
    // Without one nothing is done, and no table is made.
    void host.tenant;
    const ensured = host.ensure(schemas, context);
    return ensured === undefined ? work(context) : ensured.then(() => work(context));
  };
  return runAdmitted(host.begin, name, options, prepared, schemas[0]?.name);
}
