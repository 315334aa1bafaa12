/** `channel_binding=require`: `pg` itself takes whatever the server offers, and gives it the password. */
import { StorageError } from '../../errors.js';
import type { Wire } from './library.js';

const BOUND = 'SCRAM-SHA-256-PLUS';

/**
 * Refuses a server that authenticates in any other way than by SCRAM bound to its TLS, before it is told anything. To be
 * called before the client connects: its own listeners must come after.
 */
export function requireChannelBinding(wire: Wire, component: string, refuse: (error: StorageError) => void): void {
  let offered = false;
  let bound = false;
  const refuseOthers = (): void => {
    if (!bound) refuse(unboundError(component));
  };
  wire.on('authenticationSASL', ({ mechanisms }) => {
    offered = mechanisms.includes(BOUND);
    if (!offered) refuse(unboundError(component));
  });
  wire.on('authenticationSASLFinal', () => (bound = offered));
  for (const other of ['authenticationCleartextPassword', 'authenticationMD5Password', 'authenticationOk'] as const)
    wire.on(other, refuseOthers);
}

function unboundError(component: string): StorageError {
  const message =
    'channel_binding=require: the server did not ask for a password by SCRAM-SHA-256 over TLS (sslmode, or ssl.mode)';
  return new StorageError('CONFIGURATION', message, { component, operation: 'open' });
}
