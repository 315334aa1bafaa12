/** Lines as an export of conversations has them. */
import { createHash, randomUUID } from 'node:crypto';

export type Line = Readonly<Record<string, unknown>>;

/** The lines of an export of these records. */
export function exported(records: readonly Line[]): string[] {
  const header = { kind: 'header', format: 'quartermaster.conversations', version: 1 };
  const lines = [header, ...records].map((line) => `${JSON.stringify(line)}\n`);
  const sha256 = createHash('sha256').update(lines.join('')).digest('hex');
  return [...lines, `${JSON.stringify({ kind: 'footer', records: records.length, sha256 })}\n`];
}

export function conversation(id: string, lastSeq: number, members: object = {}): Line {
  const createdAt = new Date('2025-01-01');
  const value = { metadata: {}, messageCount: lastSeq, lastSeq, activeAt: createdAt, ...members };
  return { kind: 'conversation', id, createdAt, value };
}

export function message(conversationId: string, seq: number, members: object = {}, id: string = randomUUID()): Line {
  const [messageType, status] = ['text', 'sent'];
  const rest = { role: 'user', messageType, status, metadata: {}, extra: {}, revisions: 0 };
  const createdAt = new Date(Date.UTC(2025, 0, 1) + seq * 1_000);
  return { kind: 'message', id, createdAt, value: { conversationId, seq, content: `a${seq}`, ...rest, ...members } };
}
