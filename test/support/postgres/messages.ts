/** Messages of the protocol, as a server writes them. */

/** What a server says that is ready, in no transaction. */
export const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);

/** A script without a statement, which is what the pool tries a connection with. */
export const EMPTY_SCRIPT = Buffer.from([0x51, 0, 0, 0, 5, 0]);

/** @param state its SQLSTATE. */
export function errorMessage(state: string, severity: 'ERROR' | 'FATAL'): Buffer {
  const fields = Buffer.from(`S${severity}\0V${severity}\0C${state}\0Mno\0\0`);
  const head = Buffer.alloc(5);
  head.write('E');
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}

/** Whether it asks to stop what another connection runs. */
export function isCancel(sent: Buffer): boolean {
  return sent.length === 16 && sent.readInt32BE(4) === 80_877_102;
}

/** Whether it is the first of a connection for statements. */
export function isStartup(sent: Buffer): boolean {
  return sent.length >= 8 && sent.readInt32BE(4) === 3 << 16;
}
