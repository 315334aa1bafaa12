import { StorageError } from '../errors.js';

/** One call of `open()` that has not settled. It is the token of its generation: a close stops it. */
export class Opening {
  readonly promise: Promise<void>;
  resolve!: () => void;
  reject!: (reason: unknown) => void;
  /** Set when a close overtook this opening: when to give up on components (of `Clock.monotonic`). */
  deadline: number | undefined;
  /** Rejects at the close, or when the time for opening is over. */
  readonly interrupted: Promise<never>;
  interrupt!: (error: StorageError) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.interrupted = new Promise((_, reject) => (this.interrupt = reject));
    this.interrupted.catch(() => undefined);
  }

  get stopped(): boolean {
    return this.deadline !== undefined;
  }

  stop(deadline: number): void {
    this.deadline = deadline;
    this.interrupt(overtaken());
  }
}

/** The error of an opening that a close overtook. */
export function overtaken(): StorageError {
  return new StorageError('CLOSED', 'The storage manager was closed while it opened', { operation: 'open' });
}
