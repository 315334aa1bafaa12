/** Listening to the signals of callers, which many operations share. */

/**
 * Calls `listener` when `signal` aborts; nobody is called by a signal that has aborted before. All who listen to one signal
 * have one listener on it between them: Node takes an eleventh for a leak, and says so, where a request only did as many
 * things at once.
 * @returns what ends the listening
 */
export function listenToAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) return () => undefined;
  let listeners = LISTENERS.get(signal);
  if (listeners === undefined) LISTENERS.set(signal, (listeners = new AbortListeners(signal)));
  return listeners.add(listener);
}

const LISTENERS = new WeakMap<AbortSignal, AbortListeners>();

class AbortListeners {
  private readonly all = new Set<() => void>();

  constructor(private readonly signal: AbortSignal) {
    signal.addEventListener('abort', this, { once: true });
  }

  add(listener: () => void): () => void {
    this.all.add(listener);
    return () => {
      if (this.all.delete(listener) && this.all.size === 0) this.leave();
    };
  }

  /** Who is taken away meanwhile, by one that was called before, is not called. */
  handleEvent(): void {
    LISTENERS.delete(this.signal);
    for (const listener of this.all)
      try {
        listener();
      } catch (error) {
        // As of an EventTarget: none of them keeps the others from hearing it.
        process.nextTick(() => {
          throw error;
        });
      }
  }

  /** A signal that lives as long as the process keeps nothing of what has ended. */
  private leave(): void {
    LISTENERS.delete(this.signal);
    this.signal.removeEventListener('abort', this);
  }
}
