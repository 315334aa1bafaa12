/** Loads the package `mongodb`, and refuses a release that is too old. */
import type { Double, MongoClient, MongoClientOptions } from 'mongodb';
import { StorageError } from '../../errors.js';

/** Earlier ones can mix up the answers of two operations after one of them timed out. */
const LEAST = [7, 8, 0] as const;
const REMEDY = 'run: npm install mongodb@^7.8.0';

export interface Library {
  client(url: string, options: MongoClientOptions): MongoClient;
  /** A number that servers keep as a double, whatever its value. */
  readonly double: (value: number) => Double;
}

/** @throws `DEPENDENCY_MISSING` */
export async function loadLibrary(component: string): Promise<Library> {
  try {
    const { MongoClient, Double } = await import('mongodb');
    return {
      client: (url, options) => new MongoClient(url, options),
      double: (value) => new Double(value),
    };
  } catch (cause) {
    throw new StorageError('DEPENDENCY_MISSING', `The package mongodb cannot be loaded; ${REMEDY}`, {
      component,
      cause,
    });
  }
}

/** @throws `DEPENDENCY_MISSING` for a release before 7.8.0. */
export async function checkRelease(client: MongoClient, component: string): Promise<void> {
  // What the client tells the server about itself is the only place where the package says its version.
  const metadata = await (client.options as { metadata?: unknown }).metadata;
  const version = (metadata as { driver?: { version?: unknown } } | undefined)?.driver?.version;
  if (typeof version !== 'string' || isOlder(version))
    throw new StorageError('DEPENDENCY_MISSING', `The package mongodb is older than 7.8.0; ${REMEDY}`, {
      component,
      details: { found: typeof version === 'string' ? version.split('|')[0] : undefined },
    });
}

export function isOlder(version: string): boolean {
  const parts = version.split('.').map((part) => Number.parseInt(part, 10) || 0);
  for (const [i, least] of LEAST.entries()) {
    const part = parts[i] ?? 0;
    if (part !== least) return part < least;
  }
  return false;
}
