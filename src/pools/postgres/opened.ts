/** An open pool: its parts, and how it leaves a server that is not what it was. */
import type { Connection } from './connection.js';
import type { Connections } from './connections.js';
import type { HostPool, Library } from './library.js';
import type { Probe } from './probe.js';
import type { Runner } from './runner.js';

export interface Opened {
  readonly library: Library;
  readonly connections: Connections;
  readonly probe: Probe;
  readonly runner: Runner;
  hostPool: HostPool | undefined;
  /** As the last check found the server. */
  readOnly: boolean;
}

/** No connection of now is used again. */
export function leave({ connections, probe }: Opened): void {
  connections.evictAll();
  probe.renew();
}

/** After a write that was refused. Where it is known that the server takes none, this connection alone looks for another. */
export function leaveReadOnly(opened: Opened, connection: Connection): void {
  if (!opened.readOnly) return leave(opened);
  connection.obsolete = true;
  opened.probe.renew();
}
