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

export function makeTransport(signal: AbortSignal, now: () => Date, key: string, marks: Marks): typeof fetch {
  return async (input, init) => {
    const response = await fetch(input, { ...init, signal, redirect: 'manual' });
    const { status, headers } = response;
    readMark(headers, 'x-pinecone-request-lsn', (mark) => (marks.written = mark));
    readMark(headers, 'x-pinecone-max-indexed-lsn', (mark) => (marks.indexed = mark));
    // What is only accepted has no body.
    if (status === 202) return response;
    const text = await response.text();
    const body = /\bjson\b/i.test(headers.get('content-type') ?? '') ? parsed(text) : undefined;
    if (!response.ok)
      throw new PineconeFault(status, messageOf(body, key), parseRetryAfter(headers.get('retry-after'), now()));
    if (body === undefined) throw new PineconeFault(undefined, undefined);
    return answerOf(status, body);
  };
}

/** Read by now: the client clones each answer before it reads it, and keeps a large one twice. */
function answerOf(status: number, body: object): Response {
  const answer = new Response(null, { status });
  return Object.defineProperties(answer, {
    json: { value: () => Promise.resolve(body) },
    clone: { value: () => answer },
  });
}

function readMark(headers: Headers, name: string, keep: (mark: number) => void): void {
  const text = headers.get(name);
  if (text !== null && /^\d{1,15}$/.test(text)) keep(Number(text));
}

function parsed(text: string): object | undefined {
  try {
    const body: unknown = JSON.parse(text);
    return typeof body === 'object' && body !== null ? body : undefined;
  } catch {
    return undefined;
  }
}

/** The two planes say it differently. Never with the key: a proxy may echo the request. */
function messageOf(body: object | undefined, key: string): string | undefined {
  if (body === undefined) return undefined;
  const { message, error } = body as { message?: unknown; error?: { message?: unknown } | null };
  const said = message ?? error?.message;
  return typeof said === 'string' ? said.replaceAll(key, '***').slice(0, SHOWN_MESSAGE) : '';
}
