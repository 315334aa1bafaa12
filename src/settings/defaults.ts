/**
 * The library's own defaults, values only: docs/settings.md tells what each means. Options of a database or a vector
 * provider have their defaults in its own file. In the code, and in no file beside it, so that a bundle has them too.
 */
export const DEFAULTS = {
  databases: { main: { url: 'pglite:./.quartermaster' } },
  stores: { default: 'main' },
  tenancy: 'optional',
  defaultTenant: 'default',
  health: { timeout: 5_000, cache: 1_000 },
  lifecycle: {
    openTimeout: 30_000,
    drainTimeout: 10_000,
    operationTimeout: 30_000,
    schemaTimeout: 3_600_000,
    sweepInterval: 60_000,
  },
} as const;
