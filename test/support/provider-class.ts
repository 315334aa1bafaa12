/** Classes of vector providers for tests of what is around their operations. */
type Class = abstract new (...args: never[]) => object;

const OPERATIONS = [
  ...['createCollection', 'describeCollection', 'listCollections', 'deleteCollection'],
  ...['upsert', 'fetch', 'list', 'count', 'delete', 'search'],
];

/** Gives a class the operations that every provider has; none of them is to be called. */
export function withOperations<C extends Class>(provider: C): C {
  for (const operation of OPERATIONS) (provider.prototype as Record<string, unknown>)[operation] ??= notCalled;
  return provider;
}

function notCalled(): never {
  throw new Error('no operation of this provider is called here');
}
