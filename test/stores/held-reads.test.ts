/** What reads again and again, or asks the host, ends by its signal and its timeout while the database or the host holds it. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import { openStorage, type CallOptions, type ConversationStore, type StorageManager } from '../../src/index.js';
import { createTestDatabase } from '../../src/pools/postgres/test-database.js';
import { exported } from '../support/exported-conversations.js';
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

describe('what a host gives and never answers', () => {
  const never = (): Promise<never> => new Promise(() => undefined);
  const hanging: [string, string, (store: ConversationStore, options: CallOptions) => Promise<unknown>][] = [
    ['search', 'the function', (store, options) => store.search({ text: 'x', embed: never, ...options })],
    [
      'importConversations',
      'the source',
      (store, options) => store.importConversations({ [Symbol.asyncIterator]: () => ({ next: never }) }, options),
    ],
  ];
  test.each(hanging)('%s: %s holds nobody beyond the timeout or the signal', async (name, _what, work) => {
    const operation = `conversations.${name}`;
    await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
    await expect(work(storage.conversations, { timeout: 50 })).rejects.toMatchObject({ code: 'TIMEOUT', operation });
    const stop = new AbortController();
    const waiting = work(storage.conversations, { signal: stop.signal });
    stop.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'ABORTED', operation });
    await expect(work(storage.conversations, { signal: stop.signal })).rejects.toMatchObject({ code: 'ABORTED' });
  });

  test('an import that has nothing to write hears its signal', async () => {
    await using storage = await openStorage({ databases: { main: 'memory:' } }, { environment: {} });
    const { conversations } = storage;
    const signal = AbortSignal.abort();
    await expect(conversations.importConversations(exported([]), { signal })).rejects.toMatchObject({
      code: 'ABORTED',
    });
    expect(await conversations.importConversations(exported([]))).toMatchObject({ rejected: 0 });
  });
});
