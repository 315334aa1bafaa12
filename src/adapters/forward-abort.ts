/** Calls `listener` when `signal` aborts, at once where it has. @returns what ends the listening */
export function forwardAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal?.aborted === true) listener();
  signal?.addEventListener('abort', listener, { once: true });
  return () => signal?.removeEventListener('abort', listener);
}
