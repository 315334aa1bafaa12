/** What reads again and again, or in several steps, ends by its signal and its timeout while the database holds a read. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import { openStorage, type CallOptions, type StorageManager } from '../../src/index.js';
import { createTestDatabase } from '../../src/pools/postgres/test-database.js';
import { describeServer, serverUrl } from '../support/postgres/fixture.js';

describeServer('reads that are held', () => {
  const conversation = randomUUID();
  let storage: StorageManager;
  let other: pg.Client;
  let drop: () => Promise<void>;
  beforeEach(async () => {
    const prepared = await createTestDatabase(serverUrl);
    drop = prepared.drop;
    const settings = { databases: { main: prepared.url }, lifecycle: { operationTimeout: 600_000 } };
    storage = await openStorage(settings, { environment: {} });
    await storage.conversations.addMessage(conversation, { content: 'x' });
    other = new pg.Client({ connectionString: prepared.url });
    await other.connect();
    await other.query('SET search_path TO quartermaster');
    await other.query('BEGIN; LOCK TABLE qm_messages, qm_conversation_events, qm_sessions');
  });
  afterEach(async () => {
    await other.query('ROLLBACK');
    await other.end();
    await storage.close();
    await drop();
  });

  const isHeld = async (): Promise<boolean> => {
    const waiting = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    return (await other.query(waiting)).rows.length > 0;
  };
  /** Aborts once the read waits at the server. */
  const aborted = async <R>(read: (signal: AbortSignal) => Promise<R>): Promise<R> => {
    const stop = new AbortController();
    const reading = read(stop.signal);
    reading.catch(() => undefined);
    while (!(await isHeld())) await setTimeout(5);
    stop.abort();
    return reading;
  };

  const loops: [string, (options: Pick<CallOptions, 'signal'>) => AsyncGenerator<unknown>][] = [
    ['tail', (options) => storage.conversations.tail(conversation, options)],
    ['watchEvents', (options) => storage.conversations.watchEvents(conversation, options)],
  ];
  test.each(loops)('%s ends quietly when its signal aborts', async (_name, loop) => {
    expect(await aborted((signal) => loop({ signal }).next())).toEqual({ done: true, value: undefined });
  });

  test("an agent's list of conversations ends by its signal and its timeout", async () => {
    const agent = storage.agent('planner');
    const list = aborted((signal) => agent.listConversations({ signal }));
    await expect(list).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(agent.listConversations({ timeout: 100 })).rejects.toMatchObject({ code: 'TIMEOUT' });
  });
});
