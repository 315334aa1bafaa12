/** Classes of vector providers for tests of what is around their operations. */
type Class = abstract new (...args: never[]) => object;

const OPERATIONS = [
  ...['createCollection', 'describeCollection', 'listCollections', 'deleteCollection'],
  ...['upsert', 'fetch', 'list', 'count', 'delete', 'search'],
];

/** Gives a class what every provider has; none of its operations is to be called. */
export function withOperations<C extends Class>(provider: C): C {
  for (const operation of OPERATIONS) (provider.prototype as Record<string, unknown>)[operation] ??= notCalled;
  (provider.prototype as Record<string, unknown>)['capabilities'] ??= {};
  return provider;
}

function notCalled(): never {
  throw new Error('no operation of this provider is called here');
}
