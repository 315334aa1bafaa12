/** A pool without a free connection, while an orchestrator asks again and again whether the process lives. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { defineCollection, openStorage } from '../../src/index.js';
import { describeServer, Fixture, gate } from '../support/postgres/fixture.js';

const Notes = defineCollection<{ n: number }>({ name: 'notes', id: 'given' });

describeServer('an exhausted pool', () => {
  let fixture: Fixture;
  beforeAll(async () => {
    fixture = await Fixture.open();
  });
  afterAll(() => fixture.close());

  test('500 probes are answered, and the unit that waited goes on', async () => {
    const main = { url: fixture.url, pool: { max: 2, acquireTimeout: 60_000 } };
    await using storage = await openStorage(
      // A process that answers 500 at once is slow to hear its own check.
      { databases: { main }, health: { timeout: 60_000 } },
      { environment: {} },
    );
    const notes = storage.collection(Notes);
    await notes.save({ n: 0 }, { id: 'a' });
    const release = gate();
    const begun = [gate(), gate()];
    const holding = begun.map(({ open }, i) =>
      storage.transaction(async (tx) => {
        await tx.collection(Notes).save({ n: i }, { id: `held${i}` });
        open();
        await release.passed;
      }),
    );
    await Promise.all(begun.map(({ passed }) => passed));
    let waited = false;
    const waiting = storage
      .transaction((tx) => tx.collection(Notes).increment('a', 'n', 1))
      .finally(() => (waited = true));
    try {
      const server = createServer(storage.probes()).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const paths = ['livez', 'readyz', 'startupz', 'health'];
      const statuses = await Promise.all(
        Array.from({ length: 500 }, async (_, i) => {
          const response = await fetch(`http://127.0.0.1:${port}/${paths[i % paths.length]}`);
          await response.text();
          return response.status;
        }),
      );
      server.closeAllConnections();
      server.close();
      expect(statuses.filter((status) => status !== 200)).toEqual([]);
      expect((await storage.health()).components['main']).toMatchObject({ status: 'degraded' });
      expect(waited).toBe(false);
    } finally {
      release.open();
    }
    await Promise.all([...holding, waiting]);
    expect((await notes.get('a')).value.n).toBe(1);
  });
});
