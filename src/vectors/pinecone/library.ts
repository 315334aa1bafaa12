/** Loads the package `@pinecone-database/pinecone`. */
import type { Pinecone, PineconeConfiguration } from '@pinecone-database/pinecone';
import { StorageError } from '../../errors.js';

export interface Library {
  /** Cheap, and without a connection of its own: one is made for every attempt, with a signal that ends with it. */
  client(options: PineconeConfiguration): Pinecone;
}

/** @throws `DEPENDENCY_MISSING` */
export async function loadLibrary(component: string): Promise<Library> {
  try {
    const { Pinecone } = await import('@pinecone-database/pinecone');
    return { client: (options) => new Pinecone(options) };
  } catch (cause) {
    throw new StorageError(
      'DEPENDENCY_MISSING',
      'The package @pinecone-database/pinecone cannot be loaded; run: npm install @pinecone-database/pinecone@^8.2.0',
      { component, operation: 'open', cause },
    );
  }
}
