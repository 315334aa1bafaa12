/** A backup, page by page between the statements of others. */
import type { OperationContext } from '../../component.js';
import { writeBackup } from '../backup-file.js';
import type { Slot } from '../slot.js';
import type { EngineDatabase } from './engine.js';
import { mapError } from './errors.js';

/**
 * The turns of a backup on the connection. It has one when it begins: the libraries take a transaction that writes at that
 * moment for an empty database. Later SQLite itself copies nothing while one writes, and is asked again and again: without
 * turns of its own a backup would wait for ever among writers that follow one another.
 */
export class BackupTurns {
  private hasTurn = true;
  private waits = false;
  private ended = false;
  private fault: Error | undefined;

  constructor(
    private readonly slot: Slot,
    private readonly bounds: Pick<OperationContext, 'deadline' | 'signal'>,
  ) {}

  /** Lets those go first who wait now. @throws why no turn came. */
  next(): void {
    if (this.fault !== undefined) throw this.fault;
    if (this.waits) return;
    this.giveBack();
    const turn = this.slot.acquire(this.bounds);
    if (turn === undefined) {
      this.hasTurn = true;
      return;
    }
    this.waits = true;
    turn.then(
      () => {
        this.waits = false;
        this.hasTurn = true;
        if (this.ended) this.giveBack();
      },
      (fault: Error) => (this.fault = fault),
    );
  }

  end(): void {
    this.ended = true;
    this.giveBack();
  }

  private giveBack(): void {
    if (!this.hasTurn) return;
    this.hasTurn = false;
    this.slot.release();
  }
}

/**
 * @param between called between two parts of the copy; ends it by throwing.
 * @returns the file's bytes. @throws as `writeBackup`; what `between` throws.
 */
export function backUp(engine: EngineDatabase, path: string, component: string, between: () => void): Promise<number> {
  let reason: unknown;
  const copy = (file: string): Promise<void> =>
    engine.backup(file, () => {
      try {
        between();
      } catch (error) {
        // Some libraries make an error of their own of it.
        throw (reason = error);
      }
    });
  return writeBackup(path, component, copy, (error) => mapError(reason ?? error, component, 'backup'));
}
