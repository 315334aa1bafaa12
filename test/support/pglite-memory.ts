import { createTestDatabase } from '../../src/pools/pglite/test-database.js';

/** The URL of a PGlite in memory that need not be made first: for tests of what stands on it. */
export const { url: PGLITE_IN_MEMORY } = await createTestDatabase('pglite::memory:');

/** The URL of a PGlite in a directory that need not be made first, either. */
export const pgliteIn = (directory: string): string => PGLITE_IN_MEMORY.replace(':memory:', () => directory);
