/** The request to stop what a connection runs. It goes over a socket of its own, as secured as the connection is. */
import { connect, isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as secure } from 'node:tls';
import type { Clock } from '../../clock.js';
import type { Client } from './library.js';

/** How long a server gets to hear that a statement is to be stopped: up to five round trips with TLS. */
const CANCEL = 2_000;
const CANCEL_CODE = 80_877_102;
const TLS_CODE = 80_877_103;

/**
 * Resolves when the server has heard it, or will not; never rejects.
 * @param tls the options of the client's own TLS; `false`: it speaks in the clear.
 */
export function requestCancel(
  { host, port, processID, secretKey }: Client,
  tls: object | false,
  clock: Clock,
): Promise<void> {
  if (processID === null || secretKey === null) return Promise.resolve();
  const request = message(CANCEL_CODE, processID, secretKey);
  return new Promise((resolve) => {
    const socket = connect(host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port });
    const timer = clock.after(CANCEL, () => socket.destroy(), { background: true });
    const end = (): void => {
      timer.cancel();
      socket.destroy();
      resolve();
    };
    const send = (way: Duplex): void => {
      way.on('error', () => undefined);
      way.on('close', end);
      // The server closes it when it is done: PgBouncer takes an end of ours for a cancel that nobody wants any more.
      way.write(request);
      way.resume();
    };
    if (tls === false) return send(socket);
    socket.on('error', () => undefined);
    socket.on('close', end);
    socket.write(message(TLS_CODE));
    socket.once('data', (answer) => {
      // Never in the clear: with the key in it, whoever reads it can stop what the connection runs.
      if (answer.toString() !== 'S') return end();
      send(secure({ socket, ...(isIP(host) === 0 && { servername: host }), ...tls }));
    });
  });
}

/** One without a type, as the first of a connection is. */
function message(...numbers: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 + 4 * numbers.length);
  [bytes.length, ...numbers].forEach((number, i) => bytes.writeInt32BE(number, 4 * i));
  return bytes;
}
