/** A database for one run of a suite. */
import { randomUUID } from 'node:crypto';
import type { PreparedTarget } from '../../component.js';
import { loadLibrary } from './library.js';

export async function createTestDatabase(url: string): Promise<PreparedTarget> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const [, hosts = '', query = ''] = /^([^/]+\/\/[^/?]+)(?:\/[^?]*)?(\?.*)?$/.exec(url) ?? [];
  return {
    url: `${hosts}/${name}${query}`,
    async drop() {
      const library = await loadLibrary('test');
      const client = library.client(url, { serverSelectionTimeoutMS: 5_000 });
      try {
        await client.db(name).dropDatabase();
      } finally {
        await client.close();
      }
    },
  };
}
