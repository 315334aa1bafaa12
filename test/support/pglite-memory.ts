import { createTestDatabase } from '../../src/pools/pglite/test-database.js';

/** The URL of a PGlite in memory that need not be made first: for tests of what stands on it. */
export const { url: PGLITE_IN_MEMORY } = await createTestDatabase('pglite::memory:');
