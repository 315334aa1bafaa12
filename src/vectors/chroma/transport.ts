/**
 * How the client's requests are sent. The client's own way has no timeout, takes one signal for its whole life, and keeps
 * neither the cause of a lost connection nor `Retry-After`; it also follows redirects with the token in its headers.
 */
import { parseRetryAfter } from '../remote/retry.js';
import { ChromaFault } from './fault.js';

const SHOWN_MESSAGE = 500;

/**
 * Of an answer that is not in the form of the server's nothing is kept: a proxy may echo the request, in any spelling.
 * @param token taken out of what the server says.
 */
export function makeTransport(
  signal: () => AbortSignal | undefined,
  now: () => Date,
  token: string | undefined,
): typeof fetch {
  return async (input, init) => {
    const response = await fetch(input, { ...init, signal: signal() ?? null, redirect: 'manual' });
    const isJson = /\bjson\b/i.test(response.headers.get('content-type') ?? '');
    if (response.ok && isJson) return response;
    const text = await response.text();
    const { status } = response;
    if (response.ok) throw new ChromaFault(undefined, undefined, 'its answer is not JSON');
    const { error, message } = isJson ? readError(text, token) : {};
    throw new ChromaFault(
      status,
      error,
      message?.slice(0, SHOWN_MESSAGE) ?? `HTTP ${status}`,
      parseRetryAfter(response.headers.get('retry-after'), now()),
    );
  };
}

/** The name and the message of an error; neither where something else than the server has answered. */
function readError(text: string, token: string | undefined): { error?: string; message?: string } {
  const masked = (said: string): string => (token === undefined ? said : said.replaceAll(token, '***'));
  try {
    const { error, message } = JSON.parse(text) as { error?: unknown; message?: unknown };
    if (typeof error !== 'string' || !/^\w{1,48}$/.test(masked(error))) return {};
    return { error, ...(typeof message === 'string' ? { message: masked(message) } : {}) };
  } catch {
    return {};
  }
}
