/** Settings are shown without their secrets, however they are shown. */
import { inspect } from 'node:util';

const MASK = '***';

/**
 * Freezes a tree; what `JSON.stringify` and `util.inspect` show of it, at every depth, has its secrets masked. Where custom
 * inspection is passed by, as by `console.dir`, a secret is a getter, of which only that is shown.
 */
export function sealed<T extends object>(tree: T, isSecret: (path: string) => boolean, at = ''): T {
  for (const [key, value] of Object.entries(tree) as [string, unknown][])
    if (isSecret(at + key)) Object.defineProperty(tree, key, { get: () => value, enumerable: true });
    else if (typeof value === 'object' && value !== null) sealed(value, isSecret, `${at}${key}.`);
  const shown = (): Record<string, unknown> =>
    Object.fromEntries(Object.entries(tree).map(([key, value]) => [key, isSecret(at + key) ? mask(value) : value]));
  Object.defineProperty(tree, 'toJSON', { value: shown });
  Object.defineProperty(tree, inspect.custom, { value: shown });
  return Object.freeze(tree);
}

/** What `URL` cannot read: the hosts of a replica set. */
const SEVERAL_HOSTS =
  /^([a-z][a-z0-9+.-]*:\/\/)(?:([^:@/?#]*)(:[^@/?#]*)?@)?([^@/?#]+,[^@/?#]+)(\/[^?#@]*)?(\?[^#@]*)?$/i;

/** A URL keeps what identifies the server; everything that can be a secret in it is masked. */
export function mask(value: unknown): unknown {
  if (value === null || value === undefined || value === '') return value;
  if (typeof value !== 'string') return MASK;
  const local = /^(?:pglite|sqlite|memory|file):(?!\/\/)([^?#]*)$/.exec(value);
  if (local !== null) return value;
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined) return maskSeveral(value);
  if (url.host === '') return MASK;
  // An unescaped `/`, `?` or `#` in a password ends the host early: the rest of the password is read as a path.
  if (`${url.pathname}${url.search}${url.hash}`.includes('@')) return MASK;
  const user = url.username === '' ? '' : `${url.username}${url.password === '' ? '' : `:${MASK}`}@`;
  return `${url.protocol}//${user}${url.host}${url.pathname}${url.search === '' ? '' : `?${MASK}`}`;
}

function maskSeveral(value: string): string {
  const parts = SEVERAL_HOSTS.exec(value);
  if (parts === null) return MASK;
  const [, scheme = '', name, password, hosts = '', path = '', query] = parts;
  const user = name === undefined ? '' : `${name}${password === undefined ? '' : `:${MASK}`}@`;
  return `${scheme}${user}${hosts}${path}${query === undefined ? '' : `?${MASK}`}`;
}
