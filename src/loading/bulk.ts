/**
 * When a batch is tried in bulk, which takes new ids only: what is loaded mostly is new. After a refusal the next batches are
 * written the other way, one more each time.
 */
import { isStorageError } from '../errors.js';

export class BulkAttempts {
  /** How many batches in a row were refused, and how many from now on are not tried. */
  private refusals = 0;
  private untried = 0;

  /** @returns whether it was written. */
  async write(inBulk: () => Promise<void>): Promise<boolean> {
    if (this.untried > 0) {
      this.untried--;
      return false;
    }
    try {
      await inBulk();
      this.refusals = 0;
      return true;
    } catch (error) {
      if (!isStorageError(error, 'ALREADY_EXISTS')) throw error;
      this.untried = ++this.refusals;
      return false;
    }
  }
}
