/** The tenants that have records in a collection, as the backend counts them. */
import type { RecordBackend, RecordSchema } from '../backends/backend.js';
import type { OperationContext } from '../component.js';
import type { FieldReference } from '../filter/fields.js';
import { ALL } from '../filter/syntax.js';

const TENANT: FieldReference = { source: 'envelope', path: ['tenant'], type: 'string' };
/** More tenants than these are not told. */
export const MOST_TENANTS = 1_000_000;

/** In any order, in one statement that reads no values; `undefined` of a backend that counts nothing by itself. */
export async function countedTenants(
  backend: RecordBackend,
  collection: RecordSchema,
  context: OperationContext,
): Promise<string[] | undefined> {
  const request = { collection, filter: ALL, by: [TENANT], numbers: [], limit: MOST_TENANTS };
  const groups = await backend.aggregate?.('all', request, context);
  return groups?.map(({ key }) => key[0] as string);
}
