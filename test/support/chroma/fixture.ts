/** Providers and stores over a Chroma server, each file in a database of its own, and the server's own interface. */
import { describe } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { systemClock as clock, type Clock } from '../../../src/clock.js';
import { storeOn } from '../../../src/testing/vector-target.js';
import { chroma } from '../../../src/vectors/chroma.js';
import type { VectorProvider } from '../../../src/vectors/provider.js';
import type { VectorStore } from '../../../src/vectors/vector-store.js';
import { defaultsOf } from '../open-target.js';
import { ChromaProxy, type Guard } from './proxy.js';

const URL = process.env['TEST_CHROMA_URL'] ?? '';
const TENANT = `${URL}/api/v2/tenants/default_tenant/databases`;

/** Tests that need a server: without one they are skipped, by a name that says what they wait for. */
export function describeChroma(name: string, tests: () => void): void {
  if (URL === '') describe.skip(`${name} (waits for a server in TEST_CHROMA_URL)`, tests);
  else describe(name, tests);
}

export const opening = () => ({ clock, signal: new AbortController().signal });

/** Retries at once, so that a test of them takes no time. */
export const quickly = { retry: { attempts: 3, baseDelay: 1, maxDelay: 1 } };

export class ChromaFixture {
  private readonly proxies: ChromaProxy[] = [];
  private readonly providers: VectorProvider[] = [];

  private constructor(readonly database: string) {}

  static async open(): Promise<ChromaFixture> {
    const database = `qm_test_${randomUUID()}`;
    await native('POST', TENANT, { name: database });
    return new ChromaFixture(database);
  }

  get url(): string {
    return URL;
  }

  settings(settings: Record<string, unknown> = {}): Record<string, unknown> {
    return { ...defaultsOf(chroma.settings!), url: URL, serverDatabase: this.database, ...settings };
  }

  /** A provider that is not open yet. */
  make(settings: Record<string, unknown> = {}, own: Clock = clock): VectorProvider {
    const provider = chroma.create(this.settings(settings), { clock: own, name: 'vectors:chroma' });
    this.providers.push(provider);
    return provider;
  }

  async provider(settings: Record<string, unknown> = {}, own: Clock = clock): Promise<VectorProvider> {
    const provider = this.make(settings, own);
    await provider.open(opening());
    return provider;
  }

  async store(settings: Record<string, unknown> = {}, tenant = 'a'): Promise<VectorStore> {
    return storeOn(await this.provider(settings), tenant);
  }

  async proxy(guard?: Guard): Promise<ChromaProxy> {
    const proxy = await ChromaProxy.open(URL, guard);
    this.proxies.push(proxy);
    return proxy;
  }

  /** The server's own answer, below the database. */
  native(method: string, path: string, body?: unknown): Promise<unknown> {
    return native(method, `${TENANT}/${this.database}${path}`, body);
  }

  /** The names and ids of the server's collections. */
  async collections(): Promise<{ readonly id: string; readonly name: string }[]> {
    return (await this.native('GET', '/collections')) as { id: string; name: string }[];
  }

  /** The id of the only part of a collection that was written to. */
  async part(collection: string): Promise<string> {
    const parts = (await this.collections()).filter(({ name }) =>
      new RegExp(`^qm\\.${collection}\\..*\\.t`).test(name),
    );
    if (parts.length !== 1) throw new Error(`${collection} has ${parts.length} parts`);
    return parts[0]!.id;
  }

  async close(): Promise<void> {
    await Promise.all(this.providers.map((provider) => provider.close(clock.monotonic())));
    await Promise.all(this.proxies.map((proxy) => proxy.close()));
    for (const { name } of await this.collections()) await this.native('DELETE', `/collections/${name}`);
    await native('DELETE', `${TENANT}/${this.database}`);
  }
}

const ATTEMPTS = 10;

async function native(method: string, url: string, body?: unknown): Promise<unknown> {
  const sent = body === undefined ? {} : { body: JSON.stringify(body) };
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(url, { method, headers: { 'content-type': 'application/json' }, ...sent });
    if (response.ok) return response.json();
    const text = await response.text();
    // The server's own database was busy with others for as long as it waits: nothing was done.
    if (attempt < ATTEMPTS && text.includes('database is locked')) continue;
    throw new Error(`${method} ${url}: ${response.status} ${text}`);
  }
}
