/** An outbox in plain SQL, as one writes it for oneself: messages by key, a row a key with its lease, claims by SKIP LOCKED. */
import type pg from 'pg';

const TABLES = `
  CREATE TABLE IF NOT EXISTS hand_keys (key text PRIMARY KEY, due timestamptz NOT NULL, token bigint NOT NULL);
  CREATE INDEX IF NOT EXISTS hand_keys_due ON hand_keys (due);
  CREATE TABLE IF NOT EXISTS hand_messages (id bigserial PRIMARY KEY, key text NOT NULL, payload jsonb NOT NULL);
  CREATE INDEX IF NOT EXISTS hand_messages_key ON hand_messages (key, id)`;
const CLAIM = `
  UPDATE hand_keys SET due = now() + interval '30 s', token = token + 1 WHERE key IN
    (SELECT key FROM hand_keys WHERE due <= now() ORDER BY due LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING key`;
const READ = `
  SELECT m.id, m.key, m.payload FROM unnest($1::text[]) AS k (key),
    LATERAL (SELECT * FROM hand_messages WHERE key = k.key ORDER BY id LIMIT $2) AS m ORDER BY m.key, m.id`;
const DELETE = 'DELETE FROM hand_messages WHERE id = ANY($1)';
// One statement sees the messages as they were before it: the deletion of the messages is one of its own.
const RELEASE = `
  WITH rest AS (UPDATE hand_keys k SET due = now() WHERE key = ANY($1)
    AND EXISTS (SELECT FROM hand_messages m WHERE m.key = k.key))
  DELETE FROM hand_keys k WHERE key = ANY($1) AND NOT EXISTS (SELECT FROM hand_messages m WHERE m.key = k.key)`;

interface Row {
  readonly id: string;
  readonly key: string;
  readonly payload: unknown;
}

export async function prepareByHand(client: pg.Client): Promise<void> {
  await client.query(TABLES);
}

export async function fillByHand(client: pg.Client, keys: number, each: number): Promise<void> {
  await client.query(
    `INSERT INTO hand_messages (key, payload) SELECT 'k' || (n % $1::int), jsonb_build_object('n', n) FROM generate_series(1, $1::int * $2::int) n`,
    [keys, each],
  );
  await client.query(`INSERT INTO hand_keys SELECT 'k' || n, now(), 0 FROM generate_series(0, $1::int - 1) n`, [keys]);
}

/** Until nothing is left to claim. */
export async function dispatchByHand(
  pool: pg.Pool,
  concurrency: number,
  batch: number,
  deliver: (payload: unknown) => Promise<unknown>,
): Promise<void> {
  for (;;) {
    const { rows: claimed } = await pool.query<{ key: string }>({ name: 'claim', text: CLAIM, values: [concurrency] });
    if (claimed.length === 0) return;
    const keys = claimed.map(({ key }) => key);
    const { rows } = await pool.query<Row>({ name: 'read', text: READ, values: [keys, batch] });
    const byKey = new Map<string, Row[]>();
    for (const row of rows) byKey.set(row.key, [...(byKey.get(row.key) ?? []), row]);
    const each = async (messages: readonly Row[]): Promise<void> => {
      for (const { payload } of messages) await deliver(payload);
    };
    await Promise.all([...byKey.values()].map(each));
    await pool.query({ name: 'delete', text: DELETE, values: [rows.map(({ id }) => id)] });
    await pool.query({ name: 'release', text: RELEASE, values: [keys] });
  }
}
