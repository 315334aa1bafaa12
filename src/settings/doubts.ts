/** What is likely a mistake in settings that are valid: variables that are meant for the library, and that it does not read. */
import { resolve } from 'node:path';
import { StorageError } from '../errors.js';
import { DEFAULTS } from './defaults.js';
import { setIn, type Variables } from './environment.js';
import { distance } from './values.js';

/** Where the URL of the default database is looked for. */
const MAIN_URL = ['DATABASE_URL', 'STORAGE_DATABASES_MAIN_URL', 'POSTGRES_CONNECTION_STRING'];
/** What other programs and platforms call it. */
const HABITUAL =
  /^(?:QUARTERMASTER_)?(?:(?:STORAGE|DATABASES?|DB|POSTGRES(?:QL)?|PG|MONGO(?:DB)?|SQLITE|MAIN)_)+(?:URL|URI|DSN|CONNECTION_(?:STRING|URL))(?:_FILE)?$|^PG(?:HOST|HOSTADDR|DATABASE|SERVICE)$/i;

export interface Circumstances {
  readonly environment: Variables;
  /** Whether nobody named a database. */
  readonly isEmbedded: boolean;
  /** The conventional settings file that was looked for, if one was. */
  readonly file: string | undefined;
}

/** Names of variables, never their values. */
export function doubtsAbout(circumstances: Circumstances): StorageError[] {
  return [tenancyDoubt(circumstances.environment), databaseDoubt(circumstances)].filter((doubt) => doubt !== undefined);
}

function databaseDoubt({ environment, isEmbedded, file }: Circumstances): StorageError | undefined {
  if (!isEmbedded) return undefined;
  const empty = MAIN_URL.filter((name) => environment[name] !== undefined && setIn(environment, name) === undefined);
  const passedOver = Object.keys(environment)
    .filter((name) => setIn(environment, name) !== undefined && isMeantForUrl(name))
    .sort();
  const variables = [...empty, ...passedOver];
  if (environment['NODE_ENV'] !== 'production' && variables.length === 0) return undefined;
  const { url } = DEFAULTS.databases.main;
  const directory = resolve(url.slice(url.indexOf(':') + 1));
  const found = [
    ...(empty.length > 0 ? [`; set, but empty: ${empty.join(', ')}`] : []),
    ...(passedOver.length > 0 ? [`; set, but not read: ${passedOver.join(', ')}`] : []),
  ].join('');
  return new StorageError(
    'CONFIGURATION',
    `The data is kept in the embedded database of ${directory}: no database is named in ${MAIN_URL.join(', ')}` +
      `${file === undefined ? '' : ` or ${file}`}${found}. Where it is meant, say so: databases.main.url is ${url}`,
    { component: 'main', operation: 'open', details: { key: 'databases.main.url', directory, variables } },
  );
}

function isMeantForUrl(variable: string): boolean {
  return HABITUAL.test(variable) || MAIN_URL.some((name) => distance(name, variable.toUpperCase()) <= 2);
}

/** It decides whose data it is, and a name with one word too many would leave it as it is. */
function tenancyDoubt(environment: Variables): StorageError | undefined {
  const variables = Object.keys(environment).filter((name) => name.startsWith('STORAGE_TENANT'));
  if (variables.length === 0) return undefined;
  return new StorageError(
    'CONFIGURATION',
    `No setting is named by ${variables.join(', ')}: the variables of tenants are STORAGE_TENANCY and STORAGE_DEFAULT_TENANT`,
    { operation: 'open', details: { variables } },
  );
}
