/**
 * Rows sent to the server by `COPY ... FROM STDIN`. It is a script of the simple protocol: after an error the server drops
 * what is still under way, and says ReadyForQuery without a Sync.
 */
import { isStorageError, StorageError } from '../../errors.js';
import type { CopyFormat } from '../pool.js';
import type { Wire } from './library.js';
import { Statement } from './statement.js';

/** What is sent at once, in characters or bytes: more would wait in memory, less costs more messages. */
const FRAME = 65_536;
/** A message's type and its length, which counts itself. */
const HEADER = Buffer.from('d\0\0\0\0');
const SAVEPOINT = 'quartermaster_copy';

export class CopyStatement extends Statement {
  private readonly source: Iterator<string | Uint8Array>;
  private begun = false;
  private over = false;

  constructor(
    target: string,
    rows: Iterable<string | Uint8Array>,
    private readonly inSession: boolean,
    format: CopyFormat = 'text',
  ) {
    super(`COPY ${target} FROM STDIN (FORMAT ${format})`);
    this.source = rows[Symbol.iterator]();
  }

  override get undo(): Statement | undefined {
    return this.inSession
      ? new Statement(`ROLLBACK TO SAVEPOINT ${SAVEPOINT}; RELEASE SAVEPOINT ${SAVEPOINT}`)
      : undefined;
  }

  override submit(wire: Wire): null {
    if (this.begun) return null;
    this.begun = true;
    // Not `sent` yet: until the last row was the server cannot have done it.
    const { text } = this;
    const script = this.inSession
      ? [...this.commandsBefore(), `SAVEPOINT ${SAVEPOINT}`, text, `RELEASE SAVEPOINT ${SAVEPOINT}`]
      : [text];
    wire.query(script.join('; '));
    return null;
  }

  override handleCopyInResponse(wire: Wire): void {
    this.send(wire);
  }

  override fail(reason: Error): void {
    this.over = true;
    super.fail(reason);
  }

  /** Sends rows for as long as the socket takes them, and goes on when it does again. */
  private send(wire: Wire): void {
    const { stream } = wire;
    while (!this.over && this.failure === undefined) {
      const frame = this.nextFrame();
      if (frame === undefined) return this.end(wire);
      if (stream.write(frame)) continue;
      stream.once('drain', () => this.send(wire));
      return;
    }
  }

  private end(wire: Wire): void {
    if (this.failure !== undefined) return wire.sendCopyFail('The rows could not be made');
    this.sent = true;
    wire.endCopyFrom();
  }

  /** @returns `undefined` after the last row, and when a row could not be made. */
  private nextFrame(): Buffer | undefined {
    let text = '';
    const bytes: Uint8Array[] = [];
    let length = 0;
    try {
      while (length < FRAME) {
        const row = this.source.next();
        if (row.done === true) break;
        if (typeof row.value === 'string') text += row.value;
        else bytes.push(row.value);
        length += row.value.length;
      }
    } catch (cause) {
      // Thrown here it would end the process. The server's answer to it says nothing more.
      this.failure = isStorageError(cause) ? cause : new StorageError('INTERNAL', 'A row could not be made', { cause });
      return undefined;
    }
    if (length === 0) return undefined;
    const frame = text === '' ? Buffer.concat([HEADER, ...bytes]) : Buffer.from(`${HEADER.toString()}${text}`);
    frame.writeUInt32BE(frame.length - 1, 1);
    return frame;
  }
}
