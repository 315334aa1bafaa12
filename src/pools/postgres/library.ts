/** The part of the package `pg` that the pool uses, as types of our own: hosts need not have its types. */
import type { Duplex } from 'node:stream';
import { StorageError } from '../../errors.js';

export interface Library {
  readonly Client: new (config: ClientConfig | { readonly connectionString: string }) => Client;
  readonly Pool: new (config: object) => HostPool;
  readonly types: { getTypeParser(oid: number, format: 'text'): (text: string) => unknown };
}

export interface ClientConfig {
  readonly host: string;
  readonly port: number;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly database?: string | undefined;
  readonly application_name?: string;
  readonly options?: string;
  readonly ssl: false | object;
  readonly enableChannelBinding?: boolean;
  readonly keepAlive: boolean;
  readonly keepAliveInitialDelayMillis: number;
}

/** A client speaks over one socket; it hands the messages that answer a statement to the statement itself. */
export interface Client {
  readonly connection: Wire;
  readonly host: string;
  readonly port: number;
  readonly processID: number | null;
  readonly secretKey: number | null;
  connect(): Promise<unknown>;
  query(statement: object | string): unknown;
  end(): Promise<void>;
  on(event: 'error', listener: (error: Error) => void): void;
  once(event: 'end', listener: () => void): void;
  release?: (destroy?: Error | boolean) => void;
}

type Authentication =
  'authenticationCleartextPassword' | 'authenticationMD5Password' | 'authenticationSASLFinal' | 'authenticationOk';

/** Writes the messages of the protocol. */
export interface Wire {
  readonly stream: Duplex;
  query(text: string): void;
  parse(message: { readonly name: string; readonly text: string }): void;
  bind(message: { readonly statement: string; readonly values: readonly (string | Buffer | null)[] }): void;
  describe(message: { readonly type: 'P' }): void;
  execute(message: object): void;
  close(message: { readonly type: 'S'; readonly name: string }): void;
  sync(): void;
  endCopyFrom(): void;
  sendCopyFail(reason: string): void;
  on(event: 'readyForQuery', listener: (message: { readonly status: TransactionStatus }) => void): void;
  on(event: 'authenticationSASL', listener: (message: { readonly mechanisms: readonly string[] }) => void): void;
  on(event: Authentication, listener: () => void): void;
}

/** Idle, in a transaction, in one that has failed. */
export type TransactionStatus = 'I' | 'T' | 'E';

export interface Field {
  readonly name: string;
  readonly dataTypeID: number;
}

export type ConnectCallback = (
  error: Error | undefined,
  client: Client | undefined,
  release: (destroy?: Error | boolean) => void,
) => void;

/** `pg.Pool`, as the client of the host's own libraries. */
export interface HostPool {
  ending: boolean;
  ended: boolean;
  connect(): Promise<Client>;
  connect(callback: ConnectCallback): void;
  end(): Promise<void>;
}

/** @throws `DEPENDENCY_MISSING`. */
export async function loadLibrary(component: string): Promise<Library> {
  try {
    const { default: library } = await import('pg');
    return library as unknown as Library;
  } catch (cause) {
    throw new StorageError('DEPENDENCY_MISSING', 'The package pg cannot be loaded; run: npm install pg', {
      component,
      cause,
    });
  }
}
