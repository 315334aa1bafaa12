/**
 * How the client's requests are sent. The client's own way has no timeout and follows redirects with the key in its
 * headers; and it keeps neither `Retry-After` nor the log sequence numbers of an answer.
 */
import { parseRetryAfter } from '../remote/retry.js';
import { PineconeFault } from './fault.js';

const SHOWN_MESSAGE = 300;

/** How far the namespace of a request is, by its log: each write has a number, above those before it. */
export interface Marks {
  /** Of the write that was asked for. */
  written?: number;
  /** The last write that the read could see. */
  indexed?: number;
}

/** @param key taken out of what the service says: a proxy may echo the request. */
export function makeTransport(signal: AbortSignal, now: () => Date, key: string, marks: Marks): typeof fetch {
  return async (input, init) => {
    const response = await fetch(input, { ...init, signal, redirect: 'manual' });
    const { status, headers } = response;
    readMark(headers, 'x-pinecone-request-lsn', (mark) => (marks.written = mark));
    readMark(headers, 'x-pinecone-max-indexed-lsn', (mark) => (marks.indexed = mark));
    const isJson = /\bjson\b/i.test(headers.get('content-type') ?? '');
    // What is only accepted has no body.
    if (response.ok && (isJson || status === 202)) return response;
    const text = await response.text();
    if (response.ok) throw new PineconeFault(undefined, undefined);
    const said = isJson ? readMessage(text)?.replaceAll(key, '***').slice(0, SHOWN_MESSAGE) : undefined;
    throw new PineconeFault(status, said, parseRetryAfter(headers.get('retry-after'), now()));
  };
}

function readMark(headers: Headers, name: string, keep: (mark: number) => void): void {
  const text = headers.get(name);
  if (text !== null && /^\d{1,15}$/.test(text)) keep(Number(text));
}

/** The two planes say it differently. */
function readMessage(text: string): string | undefined {
  try {
    const { message, error } = JSON.parse(text) as { message?: unknown; error?: { message?: unknown } | null };
    const said = message ?? error?.message;
    return typeof said === 'string' ? said : undefined;
  } catch {
    return undefined;
  }
}
