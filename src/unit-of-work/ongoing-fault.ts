/** A fault of a loop's own: it is told once, however long it goes on. */
import { foreignErrorName, isStorageError, StorageError } from '../errors.js';

export type Report = (error: StorageError) => void;

export class OngoingFault {
  private told: string | undefined;

  /** @param what names the loop's work, for what is no error of the library's */
  constructor(
    private readonly report: Report,
    private readonly operation: string,
    private readonly what: string,
  ) {}

  tell(error: unknown): void {
    const name = foreignErrorName(error);
    if (name === this.told) return;
    this.told = name;
    const { operation } = this;
    this.report(
      isStorageError(error)
        ? error
        : new StorageError('INTERNAL', `${this.what} failed (${name})`, { operation, cause: error }),
    );
  }

  /** What failed has succeeded. */
  end(): void {
    this.told = undefined;
  }
}
