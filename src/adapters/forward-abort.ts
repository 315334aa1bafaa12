import { listenToAbort } from '../abort.js';

/** Calls `listener` when `signal` aborts, at once where it has. @returns what ends the listening */
export function forwardAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal?.aborted === true) listener();
  return listenToAbort(signal, listener);
}
