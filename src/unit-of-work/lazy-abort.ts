/** Tells a handler to end. Its signal is made for those that ask for it: most handlers end before anybody could want it. */
import type { StorageError } from '../errors.js';

export class LazyAbort {
  private controller: AbortController | undefined;
  private reason: StorageError | undefined;

  /** @param onAbort called at the first `abort` */
  constructor(private readonly onAbort?: (reason: StorageError) => void) {}

  get signal(): AbortSignal {
    if (this.controller === undefined) {
      this.controller = new AbortController();
      if (this.reason !== undefined) this.controller.abort(this.reason);
    }
    return this.controller.signal;
  }

  /** The first reason counts. */
  abort(reason: StorageError): void {
    if (this.reason !== undefined) return;
    this.reason = reason;
    this.controller?.abort(reason);
    this.onAbort?.(reason);
  }
}
