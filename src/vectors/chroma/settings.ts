/** The provider's settings, under `vectors.chroma`. */
import type { SettingsFragment } from '../../component.js';
import { StorageError, UnsupportedError } from '../../errors.js';
import { readRemoteOptions, remoteSettings, type RemoteOptions } from '../remote/settings.js';

const TOKEN_HEADERS = ['authorization', 'x-chroma-token'] as const;
const TENANT = 'default_tenant';
const DATABASE = 'default_database';

export interface ChromaOptions extends RemoteOptions {
  /** Without a slash at its end. */
  readonly url: string;
  /** Its host and port, for messages. */
  readonly server: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly token: string | undefined;
  readonly serverTenant: string;
  readonly serverDatabase: string;
}

export const settings: SettingsFragment = {
  url: {
    doc: 'Where the server is: http://localhost:8000, or https://host/path.',
    format: 'string',
    default: null,
    sensitive: true,
    env: ['CHROMA_URL'],
  },
  token: {
    doc: 'The token that the server, or the proxy before it, asks for.',
    format: 'string',
    default: null,
    sensitive: true,
  },
  tokenHeader: {
    doc: 'The header that carries the token; in authorization it follows the word Bearer.',
    format: TOKEN_HEADERS,
    default: TOKEN_HEADERS[0],
  },
  serverTenant: {
    doc: "The server's tenant that collections are kept in; it has nothing to do with the library's tenants.",
    format: 'string',
    default: TENANT,
    env: ['CHROMA_TENANT'],
  },
  serverDatabase: {
    doc: "The server's database that collections are kept in.",
    format: 'string',
    default: DATABASE,
    env: ['CHROMA_DATABASE'],
  },
  ...remoteSettings,
};

interface Given {
  readonly url?: string | null;
  readonly token?: string | null;
  readonly tokenHeader?: (typeof TOKEN_HEADERS)[number];
  readonly serverTenant?: string;
  readonly serverDatabase?: string;
}

/** @throws `CONFIGURATION` for what cannot be the address or the token of a server; `UNSUPPORTED` for Chroma Cloud. */
export function readOptions(given: Readonly<Record<string, unknown>>, component: string): ChromaOptions {
  const { url, token, tokenHeader, serverTenant, serverDatabase } = given as Given;
  // Never with what was given: it may hold a password.
  const fault = (key: string, expected: string): StorageError =>
    new StorageError('CONFIGURATION', `vectors.chroma.${key}: expected ${expected}`, {
      component,
      operation: 'open',
      details: { key: `vectors.chroma.${key}`, expected },
    });
  const parsed = typeof url === 'string' && URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !/^https?:$/.test(parsed.protocol))
    throw fault('url', "the server's URL, http://host:port or https://host:port (CHROMA_URL)");
  if (parsed.username !== '' || parsed.password !== '')
    throw fault('url', 'a URL without a user and a password; the token has a setting of its own');
  if (parsed.search !== '' || parsed.hash !== '') throw fault('url', 'a URL without a query');
  if (/(^|\.)trychroma\.com\.?$/.test(parsed.hostname))
    throw new UnsupportedError(
      'Chroma Cloud compares numbers in metadata differently from a server of its own: the provider is not proven there',
      { component, operation: 'open' },
    );
  // What a header may carry; anything else is thrown by the client with the token in the message.
  if (typeof token === 'string' && !/^[\x21-\x7e]+$/.test(token))
    throw fault('token', 'printable ASCII characters without spaces');
  return {
    ...readRemoteOptions(given),
    url: `${parsed.origin}${parsed.pathname}`.replace(/\/+$/, ''),
    server: `${parsed.hostname}:${parsed.port || (parsed.protocol === 'https:' ? 443 : 80)}`,
    token: token ?? undefined,
    headers: typeof token === 'string' ? tokenHeaders(token, tokenHeader) : {},
    serverTenant: serverTenant ?? TENANT,
    serverDatabase: serverDatabase ?? DATABASE,
  };
}

function tokenHeaders(token: string, header: Given['tokenHeader'] = 'authorization'): Record<string, string> {
  return { [header]: header === 'authorization' ? `Bearer ${token}` : token };
}
