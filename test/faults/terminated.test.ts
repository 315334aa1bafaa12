/** SIGTERM three times, at bad moments: the process ends by itself, and the server has nobody left of it. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { describeServer, Fixture, rowsOf, serverUrl, until } from '../support/postgres/fixture.js';
import { Proxy } from '../support/proxy.js';

const CHILD = fileURLToPath(new URL('../children/terminated.js', import.meta.url));

describeServer('told to end three times', () => {
  let fixture: Fixture;
  let proxy: Proxy;
  beforeAll(async () => {
    fixture = await Fixture.open();
  });
  beforeEach(async () => {
    proxy = await Proxy.open(serverUrl);
  });
  afterEach(() => proxy.close());
  afterAll(() => fixture.close());

  /** Its lines, and how it ended. */
  async function terminate(moment: 'opening' | 'leak', name: string) {
    const lines: string[] = [];
    const child = spawn(process.execPath, [CHILD, fixture.through(proxy.port), name, moment], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line);
      // Two that come while the process waits for its turn would be one.
      if (['ready', 'told 1', 'told 2'].includes(line)) child.kill('SIGTERM');
    });
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    return { lines, code, signal };
  }

  const left = async (name: string): Promise<number> => {
    const pool = await fixture.pool({ pool: { max: 1 } });
    const rows = await rowsOf(pool, `SELECT 1 FROM pg_stat_activity WHERE application_name = '${name}'`);
    await pool.close(0);
    return rows.length;
  };

  test('while it opens', async () => {
    const name = `opening-${randomUUID()}`;
    // Slow enough for the signals to come in the midst of it.
    proxy.delay(200);
    const { lines, code, signal } = await terminate('opening', name);
    expect([code, signal]).toEqual([0, null]);
    expect(lines).toContain('told three times');
    expect(lines).toContain('not open: CLOSED');
    expect(lines.filter((line) => line === 'closed closed')).toHaveLength(3);
    await until(async () => (await left(name)) === 0);
  });

  test('with a client that was never given back and a transaction that hangs', async () => {
    const name = `leak-${randomUUID()}`;
    const { lines, code, signal } = await terminate('leak', name);
    expect([code, signal]).toEqual([0, null]);
    expect(lines).toContain('told three times');
    expect(lines).toContain('hanging: CLOSED');
    expect(lines.filter((line) => line === 'closed closed')).toHaveLength(3);
    await until(async () => (await left(name)) === 0);
  });
});
