/** Beside Keyv: keys and values alone, without versions and pages. */
import { KeyvPostgres } from '@keyv/postgres';
import { Keyv } from 'keyv';
import type { Peer } from './beside.js';

export async function openKeyv(url: string): Promise<Peer> {
  const keyv = new Keyv({ store: new KeyvPostgres({ uri: url }) });
  keyv.on('error', (error: unknown) => {
    throw error;
  });
  return {
    insert: (id, value) => keyv.set(id, value),
    get: (id) => keyv.get(id),
    replace: (id, value) => keyv.set(id, value),
    close: () => keyv.disconnect(),
  };
}
