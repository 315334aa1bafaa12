/** A process that holds connections: how many it opens, that their end does not end it, and that it ends when it has closed. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { fileURLToPath } from 'node:url';
import type { SqlPool } from '../src/pools/pool.js';
import { describeServer, Fixture, rowsOf, until } from './support/postgres/fixture.js';
import { run } from './support/run.js';
import { storageTargets } from './support/storage-targets.js';

const LIMIT = 240_000;
const child = async (name: string, ...parameters: string[]): Promise<Record<string, unknown>> => {
  const script = fileURLToPath(new URL(`./children/${name}.js`, import.meta.url));
  const { code, output } = await run(process.execPath, [script, ...parameters], process.cwd(), LIMIT);
  expect({ code, output }).toEqual({ code: 0, output: expect.stringMatching(/^\{.*\}$/) as unknown });
  return JSON.parse(output) as Record<string, unknown>;
};

const SERVERS = storageTargets('processes').filter(({ server }) => server);
if (SERVERS.length > 0)
  describe.each(SERVERS)('a process on $name', ({ name, prepare }) => {
    test(
      '20 first uses at once make one pool; after the close no socket is left, and the process ends',
      async () => {
        const { url, drop } = await prepare();
        const told = await child('first-uses', url);
        await drop();
        expect(told).toMatchObject({ saved: 20, count: 20, left: 0 });
        // Three connections; the health check's; a MongoClient watches its server by two more.
        expect(told['open']).toBeLessThanOrEqual(name === 'postgres' ? 4 : 6);
      },
      LIMIT,
    );
  });

describeServer('a process that loses its connections', () => {
  let fixture: Fixture;
  let observer: SqlPool;
  beforeAll(async () => {
    fixture = await Fixture.open();
    observer = await fixture.pool({ pool: { max: 1 } });
  });
  afterAll(() => fixture.close());

  test(
    'goes on when idle ones are terminated, closes though a client was leaked, and leaves no session on the server',
    async () => {
      const name = 'peers-leak';
      const told = await child('postgres-leak', fixture.url, name);
      expect(told['ended']).toBeGreaterThan(1);
      expect(told['state']).toBe('closed');
      expect(told['health']).toContain('postgres-leak.');
      const sessions = `SELECT pid FROM pg_stat_activity WHERE application_name = '${name}'`;
      await until(async () => (await rowsOf(observer, sessions)).length === 0);
    },
    LIMIT,
  );
});
