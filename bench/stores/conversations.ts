/**
 * Conversations on PostgreSQL beside a client of `pg`: an append beside the statements that a host writes by hand for the
 * same (select the conversation for update, insert the message, insert the event, update the conversation, in a transaction:
 * five round trips, BEGIN travelling with the first), a page beside the same statement; then a page from the middle of a
 * million messages beside the first one.
 */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { openStorage, type StorageManager } from '../../src/index.js';
import { MESSAGES } from '../../src/adapters/conversations/records.js';
import { textOf } from '../../test/support/statements.js';
import { atDistance } from '../distance.js';
import { compare, median, print, type Row } from '../measure.js';
import { withDatabase, withoutDisk } from '../records/database.js';
import { atOnce, each } from '../records/orders.js';

const WORDS = 'apples bread cheese dates eggs flour garlic honey ice jam'.split(' ');
const CONTENT = (i: number): string =>
  Array.from({ length: 30 }, (_, n) => `${WORDS[(i + n) % 10]}${(i * 7 + n) % 50}`).join(' ');

/** What the store has: the same indexes, the words of the content included. */
const TABLES = `
  CREATE TABLE conversations (id uuid PRIMARY KEY, tenant text NOT NULL, title text, session_id uuid, user_id uuid, metadata jsonb NOT NULL DEFAULT '{}',
    message_count int NOT NULL DEFAULT 0, last_seq bigint NOT NULL DEFAULT 0, active_at timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
  CREATE INDEX ON conversations (tenant, created_at, id); CREATE INDEX ON conversations (tenant, updated_at, id);
  CREATE INDEX ON conversations (tenant, active_at, id); CREATE INDEX ON conversations (tenant, archived_at, created_at, id);
  CREATE INDEX ON conversations (tenant, session_id, created_at, id); CREATE INDEX ON conversations (tenant, user_id, created_at, id);
  CREATE TABLE messages (id uuid PRIMARY KEY, tenant text NOT NULL, conversation_id uuid NOT NULL REFERENCES conversations ON DELETE CASCADE, seq bigint NOT NULL,
    role text NOT NULL, message_type text NOT NULL, status text NOT NULL, content jsonb NOT NULL, metadata jsonb NOT NULL DEFAULT '{}', client_message_id text,
    deleted_at timestamptz, created_at timestamptz NOT NULL DEFAULT now(), words text[] NOT NULL);
  CREATE UNIQUE INDEX ON messages (conversation_id, seq); CREATE UNIQUE INDEX ON messages (conversation_id, client_message_id) WHERE client_message_id IS NOT NULL;
  CREATE INDEX ON messages (tenant, created_at, id); CREATE INDEX ON messages (tenant, deleted_at, id); CREATE INDEX ON messages USING gin (words);
  CREATE TABLE message_events (id uuid PRIMARY KEY, tenant text NOT NULL, conversation_id uuid NOT NULL REFERENCES conversations ON DELETE CASCADE,
    message_id uuid NOT NULL, seq bigint NOT NULL, event_type text NOT NULL, metadata jsonb NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
  CREATE INDEX ON message_events (conversation_id, seq); CREATE INDEX ON message_events (message_id, seq);`;

/** Who append at once. */
const LANES = 8;

async function prepare(url: string): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  await client.query(TABLES);
  await client.end();
}

/** The append by hand, as named statements on one client. */
async function appendByHand(client: pg.Client, conversation: string, i: number): Promise<void> {
  const [, found] = (await client.query(
    `BEGIN; SELECT message_count, last_seq FROM conversations WHERE id = '${conversation}' FOR UPDATE`,
  )) as unknown as pg.QueryResult<{ message_count: number; last_seq: string }>[];
  const { message_count: count, last_seq: last } = found!.rows[0]!;
  const [id, seq, content] = [randomUUID(), Number(last) + 1, CONTENT(i)];
  await client.query({
    name: 'message',
    text: `INSERT INTO messages (id, tenant, conversation_id, seq, role, message_type, status, content, words)
      VALUES ($1, 'default', $2, $3, 'user', 'text', 'sent', $4, $5)`,
    values: [id, conversation, seq, JSON.stringify(content), [...new Set(content.split(' '))]],
  });
  await client.query({
    name: 'event',
    text: `INSERT INTO message_events (id, tenant, conversation_id, message_id, seq, event_type, metadata)
      VALUES ($1, 'default', $2, $3, $4, 'created', $5)`,
    values: [
      randomUUID(),
      conversation,
      id,
      seq,
      JSON.stringify({ role: 'user', messageType: 'text', status: 'sent' }),
    ],
  });
  await client.query({
    name: 'conversation',
    text: 'UPDATE conversations SET message_count = $2, last_seq = $3, active_at = now(), updated_at = now() WHERE id = $1',
    values: [conversation, count + 1, seq],
  });
  await client.query('COMMIT');
}

/** @param where the server is, for the rows' names; `count`: of each round */
async function appends(url: string, where: string, count: number): Promise<Row[]> {
  await using storage = await openStorage({ databases: { main: { url, pool: { max: LANES } } } }, { environment: {} });
  const store = storage.conversations;
  const clients = Array.from({ length: LANES }, () => new pg.Client(url));
  for (const client of clients) await client.connect();
  const ids = Array.from({ length: LANES + 1 }, () => randomUUID());
  for (const id of ids) {
    await store.ensureConversation(id);
    await clients[0]!.query(`INSERT INTO conversations (id, tenant) VALUES ($1, 'default')`, [id]);
  }
  const add = (id: string, i: number): Promise<unknown> => store.addMessage(id, { role: 'user', content: CONTENT(i) });
  const idle = [...clients];
  const byHand = async (id: string, i: number): Promise<void> => {
    const client = idle.pop()!;
    await appendByHand(client, id, i);
    idle.push(client);
  };
  const size = { rounds: 9, count };
  const rows = [
    await compare(
      `append a message, ${where}`,
      '2',
      each((i) => add(ids[0]!, i)),
      each((i) => byHand(ids[0]!, i)),
      size,
    ),
    await compare(
      `${LANES} writers, a conversation each, ${where}`,
      '',
      atOnce(LANES, (i) => add(ids[1 + (i % LANES)]!, i)),
      atOnce(LANES, (i) => byHand(ids[1 + (i % LANES)]!, i)),
      size,
    ),
    await compare(
      `${LANES} writers, one conversation, ${where}`,
      '',
      atOnce(LANES, (i) => add(ids[0]!, i)),
      atOnce(LANES, (i) => byHand(ids[0]!, i)),
      size,
    ),
  ];
  for (const client of clients) await client.end();
  return rows;
}

/** A conversation of `count` messages, by the fast way in. */
async function fill(storage: StorageManager, conversationId: string, count: number): Promise<void> {
  await storage.conversations.ensureConversation(conversationId);
  const items = function* () {
    for (let seq = 1; seq <= count; seq++) {
      const state = { role: 'user', messageType: 'text', status: 'sent', metadata: {}, extra: {}, revisions: 0 };
      yield { id: randomUUID(), value: { conversationId, seq, content: `message ${seq}`, ...state } };
    }
  };
  const report = await storage.collection(MESSAGES).load(items());
  if (report.failed > 0) throw new Error(`${report.failed} messages could not be loaded`);
}

async function pages(url: string, count: number): Promise<void> {
  await using storage = await openStorage({ databases: { main: url } }, { environment: {} });
  const store = storage.conversations;
  const id = randomUUID();
  await fill(storage, id, count);
  const client = new pg.Client(url);
  await client.connect();
  await client.query('VACUUM ANALYZE');
  const first = (): Promise<unknown> => store.listMessages(id, { limit: 20 });
  // A cursor into the middle: the same as one that a page before has given.
  const half = await store.listMessages(id, { limit: 1 });
  const [format, query, direction] = JSON.parse(Buffer.from(half.next!, 'base64url').toString()) as unknown[];
  const after = Buffer.from(JSON.stringify([format, query, direction, count / 2])).toString('base64url');
  const middle = (): Promise<unknown> => store.listMessages(id, { limit: 20, after });
  const text = await textOf(middle);
  const values = await parametersOf(middle);
  print('us', [
    await compare(
      'a page of 20 messages',
      '0.92',
      each(middle),
      each(() => client.query({ name: 'page', text, values })),
    ),
  ]);
  const times = { first: [] as number[], middle: [] as number[] };
  for (let i = 0; i < 800; i++)
    for (const [name, page] of Object.entries({ first, middle }) as ['first' | 'middle', () => Promise<unknown>][]) {
      const started = performance.now();
      await page();
      times[name].push(performance.now() - started);
    }
  const [a, b] = [median(times.first) * 1_000, median(times.middle) * 1_000];
  console.log(
    `\n${count} messages: first page ${a.toFixed(0)} us, middle ${b.toFixed(0)} us, ${(b / a).toFixed(2)} times (goal: at most 1.5)`,
  );
  await client.end();
}

/** What `work` binds to its one statement. */
async function parametersOf(work: () => Promise<unknown>): Promise<unknown[]> {
  const { Client } = pg;
  let values: unknown[] = [];
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called on the client below
  const query = Client.prototype.query as (this: pg.Client, ...given: unknown[]) => unknown;
  Client.prototype.query = function (this: pg.Client, ...given: unknown[]): unknown {
    const asked = given[0] as { values?: unknown[] };
    if (asked.values !== undefined) values = asked.values;
    return query.apply(this, given);
  } as never;
  try {
    await work();
  } finally {
    Client.prototype.query = query as never;
  }
  return values;
}

/** @param what `appends`, `pages`, or both by default; `count`: messages of the long conversation */
export async function benchConversations(what: readonly string[] = [], count = 1_000_000): Promise<void> {
  await withDatabase(async (url) => {
    await withoutDisk(url);
    const isAsked = (name: string): boolean => what.length === 0 || what.includes(name);
    if (isAsked('appends')) {
      await prepare(url);
      print('us', [
        ...(await appends(url, 'on this machine', 300)),
        ...(await atDistance(url, (far) => appends(far, '1 ms away', 40))),
      ]);
    }
    if (isAsked('pages')) await pages(url, count);
  });
}
