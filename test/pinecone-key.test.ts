/** Where the key of Pinecone's provider is sent, and where it is not. */
import { expect, test } from '@jest/globals';
import { createProvider, usePinecone } from './support/pinecone/fixture.js';

const opened = usePinecone();

test('the key goes to no other machine in clear', async () => {
  // This machine by an address that is not the loopback's.
  const { store, standIn } = await opened({ hostName: '0.0.0.0' });
  await store.createCollection({ name: 'docs', dimension: 2 });
  for (const scheme of ['', 'http://']) {
    standIn.options.hostName = `${scheme}0.0.0.0`;
    await store.describeCollection('docs');
    await expect(store.search('docs', { vector: [1, 0] })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(store.count('docs', { i: 1 })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  }
  expect(standIn.seen('queryVectors').concat(standIn.seen('updateVector'))).toEqual([]);
});

test.each(['http://api.pinecone.io', 'http://10.0.0.1:5080', 'http://localhost.example', 'http://0.0.0.0'])(
  '%s is no address to send it to',
  (controllerHost) => {
    expect(() => createProvider({ apiKey: 'k', controllerHost })).toThrow(
      expect.objectContaining({ code: 'CONFIGURATION', message: expect.stringContaining('https') as unknown }),
    );
  },
);

test.each(['https://relay.example/pinecone', 'http://pinecone:5080', 'http://127.1:5080', 'http://[::1]:5080'])(
  '%s is one',
  (controllerHost) => {
    expect(createProvider({ apiKey: 'k', controllerHost }).name).toBe('vectors:pinecone');
  },
);
